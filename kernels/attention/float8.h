// What 8-bit attention multiplies P V in: the ranges of the e4m3 weights and values, and the sums of a tile.
#pragma once

namespace wan::kernels {

/// What the products of 64 keys are summed in before they are added to the float32 output. GeForce cards multiply 8-bit
/// floats twice as fast with sums in half as with float32 ones.
enum class Sums { Float, Half };

struct Float8Range {
  float peak;   // log2 of the largest weight
  float value;  // the largest code of a value
};

/// With float32 sums the largest weight is 2^8 of e4m3's 448, so that weights down to 2^-17 of it are not yet zero.
/// With half sums no 64 products may pass 65504: 64 * 448 * 2.25 = 64512. There the largest weight is 448, where
/// packing cuts off what the rounding of the logits makes larger. The values pay, not the weights: a weight too small
/// for its code is lost, and one key may face thousands of such; a value that is small beside the largest of its
/// channel loses bits (numbers: README.md).
constexpr Float8Range float8_range(Sums sums) {
  return sums == Sums::Half ? Float8Range{8.807355f, 2.25f} : Float8Range{8, 448};
}

}  // namespace wan::kernels
