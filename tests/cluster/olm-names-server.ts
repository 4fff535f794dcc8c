/** Serves the names of a table, read anew for each question: `node olm-names-server.ts TABLE`. */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { answerQuery, type NameTable } from "./olm-names.ts";

const [table = ""] = process.argv.slice(2);

function names(): NameTable {
  try {
    return JSON.parse(readFileSync(table, "utf8")) as NameTable;
  } catch {
    // It is being written: whoever asks asks again.
    return {};
  }
}

const socket = createSocket("udp4");
socket.on("message", (query, { address, port }) => {
  const answer = answerQuery(query, names());
  if (answer !== undefined) socket.send(answer, port, address);
});
socket.bind(53, () => process.stdout.write("ready\n"));
