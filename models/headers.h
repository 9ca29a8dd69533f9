// Where the descriptions lie in each format of checkpoint file; header_of (checkpoint.h) chooses.
#pragma once

#include "models/checkpoint.h"

namespace wan {

/// The eight bytes of length and the JSON behind them. Throws ModelError where they do not fit in the file.
std::string_view safetensors_header(const MappedFile& file);
/// The zip table and the pickle of an archive, or the pickles of an older torch file. Throws ModelError.
std::vector<std::string_view> pth_header(const std::shared_ptr<const MappedFile>& file);

}  // namespace wan
