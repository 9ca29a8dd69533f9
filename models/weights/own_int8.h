// Parts of a file whose int8 codes are those of our own products.
#pragma once

#include <optional>

#include "kernels/linear/int8.h"
#include "models/weights/stored_part.h"

namespace wan {

/// A part's codes and the scale of each row, where our own products multiply them as they are: int8, a float32 scale
/// for each row or one for the matrix, rows rotated as quantise_rows does. Nothing for other parts.
std::optional<kernels::QuantisedRows> own_int8(const StoredPart& part);

}  // namespace wan
