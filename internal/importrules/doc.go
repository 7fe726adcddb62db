// Package importrules holds the rules about which package of this module may
// import which, as a test. It has no code of its own: a rule that nothing checks
// is broken by the third change, and the compiler only refuses cycles.
//
// # Concurrency
//
// Nothing here runs outside of the test.
package importrules
