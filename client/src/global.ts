import io from "./index";

(globalThis as any).io = io;
