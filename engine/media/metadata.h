// The request inside a video that this engine wrote.
#pragma once

#include <string>

#include "engine/media/media_file.h"

namespace wan {

/// The JSON text that VideoFormat::metadata kept in the file (its comment, ©cmt). Throws InvalidRequest naming the file's field
/// where the file is no video, or carries no JSON object, or one nested deeper than any record.
std::string read_metadata(const MediaFile& file);

}  // namespace wan
