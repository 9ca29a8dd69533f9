// How exactly the blocks of a transformer compute.
#pragma once

namespace wan {

/// Exact: as the reference does. Balanced: 8-bit linears, and self-attention with 8-bit queries and keys. Fast: 8-bit
/// values as well. Embeddings, norms, modulation, the attention to text and sound, head and residual stay as they are.
enum class Precision { Exact, Balanced, Fast };

}  // namespace wan
