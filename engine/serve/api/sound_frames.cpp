// Frames of MPEG audio (ISO 11172-3, 13818-3) and of AAC in ADTS (ISO 14496-3): each begins with a header that tells how
// long it is.
#include <array>
#include <optional>

#include "engine/serve/api/sound_bytes.h"

namespace wan::serve {
namespace {

constexpr size_t kPiece = 64 << 10, kHeader = 8;

struct Frame {
  uint64_t bytes = 0;  // with its header
  double seconds = 0;
};

// kbit/s, by the number in the header.
constexpr std::array<int, 15> kLayerOne = {0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
                              kLayerTwo = {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
                              kLayerThree = {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
                              kLowLayerOne = {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
                              kLowOthers = {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160};
constexpr std::array<int, 3> kRates = {44100, 48000, 32000};  // of version 1
constexpr std::array<int, 13> kAacRates = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                           22050, 16000, 12000, 11025, 8000,  7350};

/// Nothing also for free formats, which do not tell their length.
std::optional<Frame> mpeg_frame(uint32_t header) {
  const uint32_t version = header >> 19 & 3, layer = 4 - (header >> 17 & 3), bits = header >> 12 & 15,
                 rate_number = header >> 10 & 3, padding = header >> 9 & 1;
  if (header >> 21 != 0x7FF || version == 1 || layer == 4 || bits == 0 || bits == 15 || rate_number == 3)
    return std::nullopt;
  const bool is_low = version != 3;  // 2: half the rates, 0: a quarter of them
  const auto& table = is_low ? (layer == 1 ? kLowLayerOne : kLowOthers)
                             : (layer == 1   ? kLayerOne
                                : layer == 2 ? kLayerTwo
                                             : kLayerThree);
  const uint64_t rate = uint64_t(kRates[rate_number]) >> (version == 3 ? 0 : version == 2 ? 1 : 2);
  const uint64_t samples = layer == 1             ? 384
                           : layer == 3 && is_low ? 576
                                                  : 1152,
                 bit_rate = uint64_t(table[bits]) * 1000;
  const uint64_t bytes = layer == 1 ? (12 * bit_rate / rate + padding) * 4 : samples / 8 * bit_rate / rate + padding;
  return Frame{bytes, double(samples) / double(rate)};
}

/// Of the 56 bits that a header has without its checksum.
std::optional<Frame> aac_frame(uint64_t header) {
  const uint64_t rate_number = header >> 34 & 15, bytes = header >> 13 & 0x1FFF, blocks = (header & 3) + 1;
  if (header >> 44 != 0xFFF || (header >> 41 & 3) != 0 || rate_number >= kAacRates.size() || bytes < 7)
    return std::nullopt;
  return Frame{bytes, 1024 * double(blocks) / double(kAacRates[size_t(rate_number)])};
}

/// Where what follows an ID3v2 tag begins; 0 where there is none.
uint64_t end_of_tag(std::string_view first) {
  if (!stands_at(first, 0, "ID3") || first.size() < 10) return 0;
  uint64_t size = 0;
  for (size_t i = 6; i < 10; ++i) size = size << 7 | (uint8_t(first[i]) & 0x7F);
  const bool has_footer = (uint8_t(first[5]) & 0x10) != 0;
  return 10 + size + (has_footer ? 10 : 0);
}

/// Whether a frame of MPEG audio has no sound, but words of its encoder about the whole: behind the side information, whose
/// length depends on version and channels.
bool is_about_others(std::string_view frame) {
  for (const size_t at : {13, 21, 36})
    for (const char* mark : {"Xing", "Info", "VBRI"})
      if (stands_at(frame, at, mark)) return true;
  return false;
}

}  // namespace

double seconds_of_frames(SoundBytes& file, double enough) {
  uint64_t at = end_of_tag(file.read(0, 10)), piece_at = 0;
  std::string piece;
  double seconds = 0;
  // What is no frame ends the count: a tag, or damage, behind which a decoder may find more.
  while (seconds <= enough) {
    if (at < piece_at || at + kHeader > piece_at + piece.size()) {
      piece = file.read(at, kPiece);
      piece_at = at;
    }
    const std::string_view here = std::string_view(piece).substr(size_t(at - piece_at));
    if (here.size() < kHeader) break;
    std::optional<Frame> frame = mpeg_frame(uint32_t(big_endian(here, 0, 4)));
    if (!frame) frame = aac_frame(big_endian(here, 0, 7));
    if (!frame || frame->bytes < 4 || at + frame->bytes > file.size()) break;
    const bool is_sound = seconds > 0 || !is_about_others(here.substr(0, size_t(frame->bytes)));
    if (is_sound) seconds += frame->seconds;
    at += frame->bytes;
  }
  return seconds;
}

}  // namespace wan::serve
