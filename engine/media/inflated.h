// What the compressed parts of a PNG hold.
#pragma once

#include <string>
#include <vector>

#include "engine/media/bytes.h"

namespace wan {

/// Whether these pieces of one zlib stream hold `size` bytes or more. A decoder of PNG leaves out the rows that a
/// broken stream lacks, without a word.
bool inflates_to(const std::vector<Bytes>& pieces, uint64_t size);

/// A whole zlib stream of at most `most` bytes; empty where it is broken or holds more.
std::string inflated(Bytes stream, size_t most);

}  // namespace wan
