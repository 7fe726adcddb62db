import io from "./index";
import { defaults } from "./manager";
import * as parser from "./msgpack";

defaults.parser = parser;
(globalThis as any).io = io;
