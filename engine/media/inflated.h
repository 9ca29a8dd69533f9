// What a PNG's compressed pixels hold.
#pragma once

#include <vector>

#include "engine/media/bytes.h"

namespace wan {

/// Whether these pieces of one zlib stream hold `size` bytes or more. A decoder of PNG leaves out the rows that a
/// broken stream lacks, without a word.
bool inflates_to(const std::vector<Bytes>& pieces, uint64_t size);

}  // namespace wan
