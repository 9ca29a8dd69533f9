// What a file is, told from its first bytes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace wan::serve {

/// The media type of a picture, sound or video that browsers show: image/png, image/jpeg, image/webp, image/gif, video/mp4,
/// video/quicktime, video/webm, video/x-matroska, audio/wav, audio/mpeg, audio/ogg, audio/flac, audio/mp4. Empty for
/// everything else, SVG and HTML among it. `first` is the beginning of the file, some 4 KiB of it.
std::string media_type(std::string_view first);

/// Of a file; empty also where it cannot be read. Blocks.
std::string media_type_of(const std::filesystem::path& file);

}  // namespace wan::serve
