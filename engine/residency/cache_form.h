// In which form a network's file may be kept beside it, so that what is loaded from there has the same bits.
#pragma once

#include <set>
#include <string>

#include "engine/residency/parts.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/target.h"
#include "models/weights/place.h"

namespace wan {

/// What becomes of a network's tensors in such a file.
struct CacheForm {
  convert::Target target = convert::Target::Bf16;  // Bf16 or Int8
  std::set<std::string> changed;                   // names of tensors in that form; all others stay as they are
  uint64_t bytes = 0;                              // of all tensors then
  std::string refusal;                             // why nothing is kept; empty where something is
};

/// The form in which loading `source` (official names) to `place` has the same weights, bit for bit, in at most three
/// quarters of its bytes:
///   bf16   linears of the blocks in float32 that the place rounds to bfloat16 before it does anything else with them;
///   int8   those that a mapped place would make int8 rows of at each product.
/// Never of other forms: E4M3 has one scale for a matrix in a file and one for a row when it is made here; a device makes
/// its int8 rows by its own arithmetic.
///   merged: differences of a LoRA are added to the file's values before they are rounded. Then there is no such form.
CacheForm cache_form(Network network, const Checkpoint& source, const Place& place, bool merged);

}  // namespace wan
