import { declareSchedules } from "./schedules.ts";

declareSchedules(0);
