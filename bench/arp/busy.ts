/** A process that parses without pause: what a peer that is no Node program is measured beside. */
import { parseWithoutPause } from "./parsing.ts";

parseWithoutPause();
