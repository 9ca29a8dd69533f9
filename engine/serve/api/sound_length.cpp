#include "engine/serve/api/sound_length.h"

#include <algorithm>

#include "engine/serve/api/sound_bytes.h"

namespace wan::serve {
namespace {

constexpr size_t kHead = 4096;

double seconds_of_flac(std::string_view first) {
  if (first.size() < 26) return -1;
  // STREAMINFO comes first: 20 bits of rate, 3 of channels, 5 of depth, 36 of samples.
  const uint64_t rate = big_endian(first, 18, 3) >> 4, samples = big_endian(first, 21, 5) & 0xF'FFFF'FFFF;
  return rate > 0 && samples > 0 ? double(samples) / double(rate) : -1;
}

double seconds_of_wave(std::string_view first, uint64_t size) {
  uint64_t rate = 0;  // bytes a second
  for (uint64_t at = 12; at + 8 <= first.size();) {
    const uint64_t length = little_endian(first, at + 4, 4);
    if (stands_at(first, at, "fmt ") && at + 20 <= first.size()) rate = little_endian(first, at + 16, 4);
    // A length that was never filled in, as when it is streamed, says nothing beyond the file's end.
    if (stands_at(first, at, "data")) return rate > 0 ? double(std::min(length, size - at - 8)) / double(rate) : -1;
    at += 8 + length + length % 2;
  }
  return -1;
}

}  // namespace

SoundBytes::SoundBytes(const std::filesystem::path& file) : file_(file, std::ios::binary) {
  std::error_code failed;
  const uint64_t size = std::filesystem::file_size(file, failed);
  if (file_ && !failed) size_ = size;
}

std::string SoundBytes::read(uint64_t at, size_t most) {
  if (at >= size_) return {};
  std::string bytes(size_t(std::min<uint64_t>(most, size_ - at)), '\0');
  file_.clear();
  file_.seekg(std::streamoff(at));
  file_.read(bytes.data(), std::streamsize(bytes.size()));
  bytes.resize(size_t(std::max<std::streamsize>(file_.gcount(), 0)));
  return bytes;
}

uint64_t big_endian(std::string_view bytes, size_t at, size_t count) {
  uint64_t number = 0;
  for (size_t i = at; i < at + count; ++i) number = number << 8 | (i < bytes.size() ? uint8_t(bytes[i]) : 0);
  return number;
}

uint64_t little_endian(std::string_view bytes, size_t at, size_t count) {
  uint64_t number = 0;
  for (size_t i = at + count; i-- > at;) number = number << 8 | (i < bytes.size() ? uint8_t(bytes[i]) : 0);
  return number;
}

bool stands_at(std::string_view bytes, size_t at, std::string_view mark) {
  return bytes.size() >= at + mark.size() && bytes.substr(at, mark.size()) == mark;
}

double stated_seconds(const std::filesystem::path& path, double enough) {
  SoundBytes file(path);
  const std::string first = file.read(0, kHead);
  if (stands_at(first, 0, "fLaC")) return seconds_of_flac(first);
  if (stands_at(first, 0, "RIFF") && stands_at(first, 8, "WAVE")) return seconds_of_wave(first, file.size());
  if (stands_at(first, 0, "OggS")) return seconds_of_pages(file);
  for (const char* type : {"ftyp", "moov", "mdat", "wide"})
    if (stands_at(first, 4, type)) return seconds_of_boxes(file);
  const double seconds = seconds_of_frames(file, enough);
  return seconds > 0 ? seconds : -1;
}

}  // namespace wan::serve
