#include "engine/media/wave_file.h"

#include <fstream>

#include "engine/media/bytes.h"

namespace wan {
namespace {

constexpr int kMostChunks = 1000;  // before the sound; real files have a few

/// A file that is read piece by piece; beyond its end nothing comes.
class File {
 public:
  explicit File(const std::string& path) : in_(path, std::ios::binary | std::ios::ate), size_(uint64_t(in_.tellg())) {
    if (!in_) size_ = 0;
  }

  uint64_t size() const { return size_; }
  std::string read(uint64_t at, size_t count) {
    std::string bytes(count, '\0');
    if (at >= size_) return {};
    in_.clear();
    in_.seekg(std::streamoff(at));
    in_.read(bytes.data(), std::streamsize(count));
    bytes.resize(size_t(in_.gcount()));
    return bytes;
  }

 private:
  std::ifstream in_;
  uint64_t size_;
};

/// Names of four letters, lengths of four bytes without the chunk's head; RF64's true length stands in the chunk ds64.
std::optional<WaveData> riff_data(File& file, bool little_endian) {
  constexpr uint64_t kInDs64 = 0xFFFFFFFF;
  uint64_t long_length = 0, at = 12;
  for (int i = 0; i < kMostChunks; ++i) {
    const std::string head = file.read(at, 24);
    if (head.size() < 8) return std::nullopt;
    const uint64_t length = number(head, 4, 4, little_endian), content = at + 8;
    if (starts_with(head, "ds64")) long_length = number(head, 16, 8, little_endian);
    if (starts_with(head, "data")) return WaveData{length == kInDs64 ? long_length : length, file.size() - content};
    at = content + length + length % 2;
  }
  return std::nullopt;
}

/// Names of 16 bytes whose first four are RIFF's, lengths of eight with the chunk's head, at multiples of eight.
std::optional<WaveData> wave64_data(File& file) {
  constexpr uint64_t kHead = 24;
  uint64_t at = 40;
  for (int i = 0; i < kMostChunks; ++i) {
    const std::string head = file.read(at, kHead);
    const uint64_t length = number(head, 16, 8, true);
    if (head.size() < kHead) return std::nullopt;
    if (starts_with(head, "data")) return WaveData{length < kHead ? 0 : length - kHead, file.size() - at - kHead};
    if (length < kHead || length > file.size()) return std::nullopt;
    at += (length + 7) / 8 * 8;
  }
  return std::nullopt;
}

}  // namespace

bool is_open_length(uint64_t bytes) {
  constexpr uint64_t kSlack = 64 << 10;  // headers and rounding
  const auto between = [&](uint64_t least, uint64_t most) { return bytes >= least - kSlack && bytes <= most + kSlack; };
  return bytes == 0 || between(0x7F000000, 0x80000000) || between(0xFFFFFFFF, 0xFFFFFFFF) || bytes >> 62 != 0;
}

std::optional<WaveData> wave_data(const std::string& path) {
  File file(path);
  const std::string first = file.read(0, 16);
  std::optional<WaveData> data =
      starts_with(first, "riff") ? wave64_data(file) : riff_data(file, !starts_with(first, "RIFX"));
  return data && !is_open_length(data->stated) ? data : std::nullopt;
}

}  // namespace wan
