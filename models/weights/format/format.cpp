#include "models/weights/format/format.h"

#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/weights/format/gguf.h"
#include "models/weights/format/pth.h"
#include "models/weights/format/safetensors.h"

namespace wan {

std::span<const Format* const> formats() {
  static constexpr const Format* kFormats[] = {&kSafetensors, &kPth, &kGguf};
  return kFormats;
}

const Format* format_of(const MappedFile& file) {
  const std::string extension = file.path().extension().string();
  for (const Format* format : formats())
    if (format->has_extension(extension)) return format;
  for (const Format* format : formats())
    if (format->has_content(file.bytes())) return format;
  return nullptr;
}

StoredTensors read_tensors(const std::shared_ptr<const MappedFile>& file) {
  if (const Format* format = format_of(*file)) return format->read(file);
  refuse_foreign(file->bytes(), Content::Binary, file->path().string());
  throw ModelError(
      file->path().string(),
      "must be a .safetensors file, a torch archive (.pth) or a .gguf file, is none of them; name another file");
}

std::vector<std::string_view> header_of(const std::shared_ptr<const MappedFile>& file) {
  if (const Format* format = format_of(*file)) return format->header(file);
  return {file->bytes()};
}

std::map<std::string, std::string> metadata_of(const std::shared_ptr<const MappedFile>& file) {
  const Format* format = format_of(*file);
  return format && format->metadata ? format->metadata(file) : std::map<std::string, std::string>();
}

}  // namespace wan
