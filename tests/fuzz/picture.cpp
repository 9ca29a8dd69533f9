// Pictures: the headers that this program reads itself (PNG, TIFF, AVIF and HEIC among them), then the pixels.
#include "engine/media/image_reader.h"

#include "engine/media/heif_items.h"
#include "engine/media/png_file.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void picture(std::string_view bytes) {
  if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) static_cast<void>(read_png(bytes));
  if (const auto items = heif_items(bytes))
    for (const auto& [number, item] : *items) static_cast<void>(item.real());
  const MemoryFile file(bytes);
  answer([&] { read_image({.path = file.path(), .field = "image_url"}); });
}

}  // namespace wan::fuzz
