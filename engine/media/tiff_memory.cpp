#include "engine/media/tiff_memory.h"

#include <algorithm>
#include <cstring>

namespace wan {
namespace {

tmsize_t read_memory(thandle_t handle, void* out, tmsize_t size) {
  auto& memory = *static_cast<TiffMemory*>(handle);
  const Bytes piece = from(memory.bytes, size_t(memory.at), size_t(std::max<tmsize_t>(size, 0)));
  std::memcpy(out, piece.data(), piece.size());
  memory.at += piece.size();
  return tmsize_t(piece.size());
}
tmsize_t write_memory(thandle_t, void*, tmsize_t) {
  return 0;
}
toff_t seek_memory(thandle_t handle, toff_t offset, int whence) {
  auto& memory = *static_cast<TiffMemory*>(handle);
  return memory.at = offset + (whence == SEEK_CUR ? memory.at : whence == SEEK_END ? memory.bytes.size() : 0);
}
int close_memory(thandle_t) {
  return 0;
}
toff_t memory_size(thandle_t handle) {
  return static_cast<TiffMemory*>(handle)->bytes.size();
}
int map_memory(thandle_t handle, void** base, toff_t* size) {
  const auto& memory = *static_cast<TiffMemory*>(handle);
  *base = const_cast<char*>(memory.bytes.data());
  *size = memory.bytes.size();
  return 1;
}
void unmap_memory(thandle_t, void*, toff_t) {}

}  // namespace

TiffHandle open_tiff(TiffMemory& memory) {
  TIFFSetErrorHandler(nullptr);
  TIFFSetWarningHandler(nullptr);
  return TiffHandle(TIFFClientOpen("picture", "r", &memory, read_memory, write_memory, seek_memory, close_memory,
                                   memory_size, map_memory, unmap_memory));
}

}  // namespace wan
