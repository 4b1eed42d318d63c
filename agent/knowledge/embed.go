package knowledge

import (
	"hash/fnv"
	"math"
)

// Space names the embedding that Embed makes; vectors of different spaces are
// never compared (channels.md LL-14).
const Space = "hash-256-v1"

// Dimensions of the vectors of Space.
const Dimensions = 256

// Embed is a local embedding: stems and their letter trigrams hashed with a sign
// into 256 places, of length 1. The same text gives the same vector on every
// machine; without any term it is all zeros.
func Embed(text string) []float32 {
	sum := make([]float64, Dimensions)
	add := func(s string, weight float64) {
		h := fnv.New64a()
		h.Write([]byte(s))
		v := h.Sum64()
		if v>>63 == 1 {
			weight = -weight
		}
		sum[v%Dimensions] += weight
	}
	for _, t := range Terms(text) {
		add("t:"+t, 1)
		padded := []rune("^" + t + "$")
		for i := 0; i+3 <= len(padded); i++ {
			add("g:"+string(padded[i:i+3]), 0.25)
		}
	}
	var square float64
	for _, x := range sum {
		square += x * x
	}
	v := make([]float32, Dimensions)
	if square == 0 {
		return v
	}
	for i, x := range sum {
		v[i] = float32(x / math.Sqrt(square))
	}
	return v
}
