package cluster

import (
	"slices"
	"testing"
	"time"
)

func TestNumbersTellRepeatedAndMissingMessages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		seqs    []uint64
		repeats []uint64
		missing uint64
	}{
		{"in order, from anywhere on", []uint64{7, 8, 9}, nil, 0},
		{"repeated", []uint64{1, 2, 2, 1, 3}, []uint64{2, 1}, 0},
		{"missing", []uint64{1, 4, 5, 7}, nil, 3},
		{"late", []uint64{1, 4, 3, 2, 5, 3}, []uint64{3}, 0},
		{"one late, one missing", []uint64{1, 4, 3, 5}, nil, 1},
		{"older than is remembered", []uint64{1, 3000, 1}, []uint64{1}, 2998},
		{"before the first", []uint64{5, 4, 4}, []uint64{4}, 0},
	}
	for _, tt := range tests {
		var s sequences
		s.init()
		now := time.Now()
		var repeats []uint64
		for _, n := range tt.seqs {
			if !s.fresh("a", Lane{}, Ext{Version: 1, Epoch: 1, Seq: n}, now) {
				repeats = append(repeats, n)
			}
		}
		if !slices.Equal(repeats, tt.repeats) {
			t.Errorf("%s: repeated %v, want %v", tt.name, repeats, tt.repeats)
		}
		if early := s.settle(now.Add(settleAfter / 2)); len(early) > 0 {
			t.Errorf("%s: settled before late messages could come", tt.name)
		}
		var missing uint64
		for _, h := range s.settle(now.Add(settleAfter)) {
			missing += h.missing
		}
		if missing != tt.missing || len(s.settle(now.Add(time.Hour))) > 0 {
			t.Errorf("%s: %d missing, want %d once", tt.name, missing, tt.missing)
		}
	}
}

func TestLanesAndEpochsAreCountedApart(t *testing.T) {
	t.Parallel()
	var s sequences
	s.init()
	now := time.Now()
	room := Lane{Room: "r"}
	for _, m := range []struct {
		lane Lane
		x    Ext
	}{
		{Lane{}, Ext{Version: 1, Epoch: 1, Seq: 1}}, {room, Ext{Version: 1, Epoch: 2, Seq: 9}},
		{Lane{}, Ext{Version: 1, Epoch: 1, Seq: 2}}, {room, Ext{Version: 1, Epoch: 3, Seq: 1}},
		{Lane{Log: true}, Ext{Version: 1, Epoch: 1, Seq: 1}},
	} {
		if !s.fresh("a", m.lane, m.x, now) {
			t.Errorf("%+v was taken for a repetition", m)
		}
	}
	s.dropRoom("r")
	if s.count != 2 || !s.fresh("a", room, Ext{Version: 1, Epoch: 3, Seq: 1}, now) {
		t.Errorf("%d lanes are followed after a room was left", s.count)
	}
	s.dropNode("a")
	if s.count != 0 || len(s.lanes) != 0 || len(s.settle(now.Add(time.Hour))) != 0 {
		t.Errorf("%d lanes of a node that is gone", s.count)
	}
}
