// Whether a video file goes on to the end of its own structure. Included by this folder's .cpp files only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace wan {

enum class FileEnd {
  Whole,     // also where the structure cannot be followed
  Unmarked,  // nothing is cut short, and the mark of the end is not there
  Cut,       // the last part says that it is longer than what is there
};

/// The boxes of an MP4 or MOV, fragmented ones too: a part below the top level is not looked at.
FileEnd end_of_boxes(const std::string& path);
/// The elements of a Matroska or WebM file down to the blocks, whose groups may lack a length where they were written live.
FileEnd end_of_elements(const std::string& path);
/// The packets of an MPEG transport stream, of 188, 192 or 204 bytes, and the last packet of each stream in it where
/// that states its length (that of a picture mostly does not) and goes on to the end of the file. What is damaged
/// before is not its end.
FileEnd end_of_packets(const std::string& path);
/// What the header of an ASF file (WMV, WMA) states; nothing where it is none, or a live stream.
struct AsfHead {
  uint64_t bytes;  // of the file
  double seconds;  // that it lasts
  uint64_t there;  // bytes of the file
};
std::optional<AsfHead> asf_head(const std::string& path);
/// The mark behind the last picture of a GIF.
FileEnd end_of_gif(const std::string& path);

}  // namespace wan
