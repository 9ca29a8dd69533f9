// The bytes of a file of which nothing is known to be right, and the readers of lengths in them (sound_length.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace wan::serve {

class SoundBytes {
 public:
  explicit SoundBytes(const std::filesystem::path& file);

  /// In bytes; 0 where it cannot be read.
  uint64_t size() const { return size_; }
  /// Bytes from `at` on, as many as there are of `most`.
  std::string read(uint64_t at, size_t most);

 private:
  std::ifstream file_;
  uint64_t size_ = 0;
};

/// Numbers of so many bytes at a place of `bytes`; what lies behind their end counts as 0.
uint64_t big_endian(std::string_view bytes, size_t at, size_t count);
uint64_t little_endian(std::string_view bytes, size_t at, size_t count);
/// Whether `mark` stands there.
bool stands_at(std::string_view bytes, size_t at, std::string_view mark);

// In seconds; below 0 where the file does not say.
/// Of frames of MPEG audio or AAC, perhaps behind a tag; 0 where it begins with none.
double seconds_of_frames(SoundBytes& file, double enough);
/// Of the shortest sound track of boxes: MP4, M4A, QuickTime.
double seconds_of_boxes(SoundBytes& file);
/// Of the first sound stream of Ogg pages.
double seconds_of_pages(SoundBytes& file);

}  // namespace wan::serve
