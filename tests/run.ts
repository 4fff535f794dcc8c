/**
 * `make test`: runs every kind of test there is and ends with one line,
 * `N passed, N failed, N skipped`. Arguments name the kinds to run, all without.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { clusterForTests } from "./cluster/for-tests.ts";

const TREE = join(import.meta.dirname, "..");
const RESULTS = join(TREE, "build/tests");

/** The kinds, quick ones first; those that share one machine-wide thing run one file at a time. */
const KINDS: readonly Kind[] = [
  { name: "unit", inBand: false },
  { name: "simulation", inBand: false, everyCore: true },
  // planted bugs, and many times as many schedules with SOAK: only when it is named
  { name: "schedules", inBand: false, onRequest: true },
  { name: "link", inBand: true },
  { name: "apiserver", inBand: false },
  { name: "machine", inBand: true },
  { name: "cluster", inBand: true },
  { name: "olm", inBand: true },
];

/** A kind of test: the folder below `tests/`. */
interface Kind {
  readonly name: string;
  /** Its files share something that there is once a machine. */
  readonly inBand: boolean;
  /** Its files do nothing but compute: on a small machine, too, they run beside each other. */
  readonly everyCore?: boolean;
  /** Run only when it is named. */
  readonly onRequest?: boolean;
}

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

async function jest(kind: Kind): Promise<Counts> {
  const file = join(RESULTS, `${kind.name}.json`);
  rmSync(file, { force: true });
  const args = [
    "--selectProjects",
    kind.name,
    "--json",
    `--outputFile=${file}`,
    "--passWithNoTests",
    // what a busy machine may need; a test that hangs is ended by it all the same
    "--testTimeout=60000",
    "--forceExit",
    ...(kind.everyCore === true ? ["--maxWorkers=100%"] : []),
  ];
  const child = spawn("jest", [...args, ...(kind.inBand ? ["--runInBand"] : [])], {
    cwd: TREE,
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      NODE_OPTIONS: "--experimental-vm-modules --disable-warning=ExperimentalWarning",
    },
  });
  await new Promise((resolve, reject) => child.once("close", resolve).once("error", reject));
  const report = JSON.parse(readFileSync(file, "utf8")) as JestReport;
  for (const { assertionResults } of report.testResults)
    for (const { status, fullName } of assertionResults)
      if (status === "pending" || status === "todo") process.stderr.write(`skipped: ${fullName}\n`);
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

async function runKind(kind: Kind): Promise<Counts> {
  const started = performance.now();
  process.stderr.write(`\n== ${kind.name}\n`);
  try {
    if (kind.name !== "cluster" && kind.name !== "olm") return await jest(kind);
    await using _cluster = await clusterForTests();
    return await jest(kind);
  } catch (error) {
    process.stderr.write(
      `${kind.name}: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    const seconds = (performance.now() - started) / 1000;
    process.stderr.write(`== ${kind.name}: ${seconds.toFixed(0)} s\n`);
  }
}

const wanted = process.argv.slice(2);
for (const name of wanted)
  if (!KINDS.some((kind) => kind.name === name)) {
    process.stderr.write(
      `error: no kind of test ${name}: use ${KINDS.map((kind) => kind.name).join(", ")}\n`,
    );
    process.exit(2);
  }
mkdirSync(RESULTS, { recursive: true });
let total: Counts = { passed: 0, failed: 0, skipped: 0 };
for (const kind of KINDS) {
  if (wanted.length === 0 ? kind.onRequest === true : !wanted.includes(kind.name)) continue;
  const counts = await runKind(kind);
  total = {
    passed: total.passed + counts.passed,
    failed: total.failed + counts.failed,
    skipped: total.skipped + counts.skipped,
  };
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
const strict = process.env["CI"] === "true" && total.skipped > 0;
process.exit(total.failed > 0 || strict ? 1 : 0);
