package core_test

import "os"

const childEnv = "CORE_MEMORY_CHILD"

func memoryChild() { os.Exit(0) }
