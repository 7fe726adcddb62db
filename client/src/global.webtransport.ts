import { extend } from "./webtransport";

extend((globalThis as any).io);
