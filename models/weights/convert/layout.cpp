#include "models/weights/convert/layout.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>

namespace wan::convert {
namespace {

int width_of(const std::string& type) {
  if (type == "F64" || type == "I64") return 8;
  if (type == "F32" || type == "I32") return 4;
  return type == "F16" || type == "BF16" ? 2 : 1;
}

uint32_t ggml_type(const std::string& type) {
  constexpr std::pair<const char*, uint32_t> kTypes[] = {
      {"F32", 0}, {"F16", 1}, {"BF16", 30}, {"Q8_0", 8}, {"Q4_K", 12}};
  for (const auto& [name, number] : kTypes)
    if (type == name) return number;
  throw std::logic_error("[convert] writes no tensors of type " + type + " into GGUF files");
}

template <typename T>
void put(std::string& bytes, T number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}
void put(std::string& bytes, const std::string& text) {
  put(bytes, uint64_t(text.size()));
  bytes += text;
}

}  // namespace

Layout safetensors_layout(std::vector<Slot> slots, const std::map<std::string, std::string>& metadata) {
  std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) {
    return std::tuple(-width_of(a.type), a.name) < std::tuple(-width_of(b.type), b.name);
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t end = 0;
  for (Slot& slot : slots) {
    slot.offset = end;
    end += slot.bytes;
    header[slot.name] = {{"dtype", slot.type}, {"shape", slot.shape}, {"data_offsets", {slot.offset, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  Layout layout;
  put(layout.header, uint64_t(text.size()));
  layout.header += text;
  for (Slot& slot : slots) slot.offset += layout.header.size();
  layout.size = layout.header.size() + end;
  layout.slots = std::move(slots);
  return layout;
}

Layout gguf_layout(std::vector<Slot> slots, const std::string& architecture) {
  constexpr uint32_t kVersion = 3, kUint32 = 4, kString = 8, kMostlyQ8 = 7, kQuantisationVersion = 2;
  constexpr uint64_t kAlignment = 32;
  const auto aligned = [](uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; };
  std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.name < b.name; });
  Layout layout;
  std::string& header = layout.header;
  header = "GGUF";
  put(header, kVersion);
  put(header, uint64_t(slots.size()));
  put(header, uint64_t(3));
  put(header, std::string("general.architecture"));
  put(header, kString);
  put(header, architecture);
  for (const auto& [key, value] :
       {std::pair("general.quantization_version", kQuantisationVersion), std::pair("general.file_type", kMostlyQ8)}) {
    put(header, std::string(key));
    put(header, kUint32);
    put(header, value);
  }
  uint64_t end = 0;
  for (Slot& slot : slots) {
    put(header, slot.name);
    put(header, uint32_t(slot.shape.size()));
    for (auto size = slot.shape.rbegin(); size != slot.shape.rend(); ++size) put(header, uint64_t(*size));
    put(header, ggml_type(slot.type));
    put(header, end);
    slot.offset = end;
    end = aligned(end + slot.bytes);
  }
  header.resize(aligned(header.size()), '\0');
  for (Slot& slot : slots) slot.offset += header.size();
  layout.size = header.size() + end;
  layout.slots = std::move(slots);
  return layout;
}

}  // namespace wan::convert
