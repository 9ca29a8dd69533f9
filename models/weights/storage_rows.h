// Some rows of a weight that lies as one matrix, as a weight of their own.
#pragma once

#include <cstdint>

#include "models/weights/weight_storage.h"

namespace wan {

/// A view of the rows of one part of a weight (Weight::parts), `first` to `first + count - 1`. Throws std::logic_error
/// for a storage that keeps them with others: codes of a file whose parts begin elsewhere, or rows that begin within
/// those of one scale.
Storage rows_of(const Storage& storage, int64_t first, int64_t count);

}  // namespace wan
