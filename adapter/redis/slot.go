package redis

import "strings"

// slots is how many slots Redis Cluster has.
const slots = 1 << 14

// slotOf returns the slot of a key or of a sharded channel: CRC16 (XMODEM) of the
// text in the first pair of braces, if there is any in it, or of all of it.
func slotOf(name string) int {
	if _, rest, ok := strings.Cut(name, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			name = tag
		}
	}
	var crc uint16
	for i := range len(name) {
		crc ^= uint16(name[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}
