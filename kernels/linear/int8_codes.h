// Symmetric 8-bit codes, of rows that are rotated (quantise.cuh) and of queries and keys, which are not
// (kernels/attention).
#pragma once

namespace wan::kernels::int8_codes {

/// Largest magnitude of a code: symmetric, so that -x has the codes of x negated.
constexpr float kLargest = 127;
/// What has no larger magnitude than this is taken for zeros: 127 / largest stays finite.
constexpr float kSmallest = 1e-30f;

}  // namespace wan::kernels::int8_codes
