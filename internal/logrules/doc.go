// Package logrules holds the rules for what the code of all modules logs, as a
// test: the keys of attributes, which people search for and build alerts on, and what
// a line may say of a client. It has no code of its own.
//
// # Concurrency
//
// Nothing here runs outside of the test.
package logrules
