// Command compare puts Socket.IO servers under the same load, one after the
// other, and prints what each delivered message, connection and acknowledgement
// cost them in CPU time, and each idle connection in memory: Socketfleet, the
// reference server on Node.js where it is installed, and a bare gorilla server as
// the floor.
//
// Servers run as child processes on loopback, in rounds whose order rotates. CPU
// time is read from outside, from the process's CPU clock, so what the load's
// clients use does not count; memory is the resident set after a garbage
// collection. It reports and never judges: figures depend on the machine.
//
// # Concurrency
//
// One server and one load at a time. A child ends when its standard input does,
// hence with its parent, however that ends.
package main
