#include "engine/media/webp_file.h"

namespace wan {
namespace {

struct Chunk {
  Bytes name, data;
  size_t length = 0;  // as stated; data is shorter where the file is cut
};

Chunk chunk_at(Bytes file, size_t at) {
  const size_t length = number(file, at + 4, 4, true);
  return {from(file, at, 4), from(file, at + 8, length), length};
}

size_t behind(size_t at, const Chunk& chunk) {
  return at + 8 + chunk.length + chunk.length % 2;
}

std::string bytes_of(size_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += char(value >> 8 * i);
  return bytes;
}

std::string still(const Chunk& pixels) {
  std::string data(pixels.data);
  if (data.size() % 2) data += '\0';
  return "RIFF" + bytes_of(12 + data.size()) + "WEBP" + std::string(pixels.name) + bytes_of(pixels.data.size()) + data;
}

void read_frame(Bytes frame, WebpFile& webp);

// The chunks of a file (of an animation those with frames, too), or of a frame.
void read_chunks(Bytes chunks, bool frames, WebpFile& webp) {
  for (size_t at = 0; at + 8 <= chunks.size();) {
    const Chunk chunk = chunk_at(chunks, at);
    if (webp.picture.empty()) {
      if (chunk.name == "ALPH") webp.transparent = true;
      if (chunk.name == "ANMF" && frames) read_frame(chunk.data, webp);
      if (chunk.name == "VP8 " || chunk.name == "VP8L") {
        if (chunk.data.size() < chunk.length) webp.wrong = "it is truncated";
        webp.picture = still(chunk);
      }
    }
    if (chunk.name == "EXIF") webp.exif = chunk.data;
    if (chunk.name == "ICCP") webp.profile = chunk.data;
    at = behind(at, chunk);
  }
}

// x/2, y/2, width - 1, height - 1, duration (3 bytes each), flags, then the chunks of a still.
void read_frame(Bytes frame, WebpFile& webp) {
  webp.left = 2 * int64_t(number(frame, 0, 3, true));
  webp.top = 2 * int64_t(number(frame, 3, 3, true));
  read_chunks(from(frame, 16), false, webp);
}

}  // namespace

bool is_webp(Bytes file) {
  return starts_with(file, "RIFF") && from(file, 8, 4) == "WEBP";
}

bool is_animated_webp(Bytes file) {
  return is_webp(file) && from(file, 12, 4) == "VP8X" && (number(file, 20, 1, true) & 2);
}

WebpFile read_webp(Bytes file) {
  WebpFile webp;
  webp.animated = is_animated_webp(file);
  if (webp.animated) {
    webp.canvas_width = 1 + int64_t(number(file, 24, 3, true));
    webp.canvas_height = 1 + int64_t(number(file, 27, 3, true));
  }
  read_chunks(from(file, 12), webp.animated, webp);
  if (starts_with(webp.exif, "Exif")) webp.exif = from(webp.exif, 6);  // some writers keep JPEG's mark
  if (webp.picture.empty()) {
    webp.wrong = webp.animated ? "an animated WebP without a first frame" : "it is damaged or truncated";
  }
  return webp;
}

}  // namespace wan
