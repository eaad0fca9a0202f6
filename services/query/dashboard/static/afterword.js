// Everything works without this script; it makes the pages live, and adds conveniences.

import { start as startLive } from "./live.js";
import { start as startRows } from "./rows.js";
import { start as startTheme } from "./theme.js";
import { start as startTimes } from "./times.js";

startTheme();
startTimes();
startRows();
startLive();
