#include "engine/media/heif_items.h"

#include <vector>

#include "engine/media/boxes.h"

namespace wan {
namespace {

struct BeyondLimits {};

using Items = std::map<uint64_t, HeifItem>;

/// Only items whose type is known count.
HeifItem* find(Items& items, uint64_t number) {
  const auto found = items.find(number);
  return found == items.end() ? nullptr : &found->second;
}

void read_types(Bytes iinf, Items& items) {
  for (const Box& box : boxes_in(from(iinf, big(iinf, 0, 1) == 0 ? 6 : 8))) {
    const uint64_t version = big(box.content, 0, 1);
    if (box.type != "infe" || version < 2) continue;
    const size_t id_bytes = version == 2 ? 2 : 4;
    items[big(box.content, 4, id_bytes)].type = from(box.content, 4 + id_bytes + 2, 4);
  }
}

/// Of a box of numbers: the next one.
class Numbers {
 public:
  explicit Numbers(Bytes bytes) : bytes_(bytes) {}
  uint64_t next(size_t width) {
    const uint64_t value = big(bytes_, at_, width);
    at_ += width;
    return value;
  }
  bool ended() const { return at_ >= bytes_.size(); }

 private:
  Bytes bytes_;
  size_t at_ = 0;
};

/// Where the bytes of items lie: pieces of the file (0) or of the box idat (1), put together.
void read_contents(Bytes file, Bytes iloc, Bytes idat, Items& items) {
  Numbers numbers(iloc);
  const uint64_t version = numbers.next(4) >> 24, widths = numbers.next(2);
  const size_t offset_bytes = widths >> 12, length_bytes = widths >> 8 & 15, base_bytes = widths >> 4 & 15;
  const size_t index_bytes = version > 0 ? widths & 15 : 0, id_bytes = version < 2 ? 2 : 4;
  const bool empty_pieces = offset_bytes + length_bytes + index_bytes == 0;
  size_t total = 0;
  for (uint64_t count = numbers.next(id_bytes); count > 0 && !numbers.ended(); --count) {
    HeifItem* item = find(items, numbers.next(id_bytes));
    const Bytes source = version > 0 && (numbers.next(2) & 15) == 1 ? idat : file;
    numbers.next(2);  // another file
    const uint64_t base = numbers.next(base_bytes), pieces = numbers.next(2);
    if (empty_pieces && pieces > 1) throw BeyondLimits();
    for (uint64_t left = pieces; left > 0 && !(numbers.ended() && left < pieces); --left) {
      numbers.next(index_bytes);
      const uint64_t offset = base + numbers.next(offset_bytes), length = numbers.next(length_bytes);
      const Bytes piece = from(source, offset, length == 0 ? Bytes::npos : length);
      total += piece.size();
      if (total > 2 * file.size()) throw BeyondLimits();
      if (item) item->content += piece;
    }
  }
}

void take_property(const Box& property, HeifItem& item) {
  if (property.type == "ispe") item.stated = {big(property.content, 4, 4), big(property.content, 8, 4)};
  if (property.type == "av1C" || property.type == "hvcC") item.codec = property.content;
}

void read_properties(Bytes iprp, Items& items) {
  const std::vector<Box> properties = boxes_in(box_in(iprp, "ipco"));
  for (const Box& box : boxes_in(iprp)) {
    if (box.type != "ipma") continue;
    Numbers numbers(box.content);
    const uint64_t head = numbers.next(4);
    const size_t id_bytes = head >> 24 == 0 ? 2 : 4, index_bytes = head & 1 ? 2 : 1;
    for (uint64_t count = numbers.next(4); count > 0 && !numbers.ended(); --count) {
      HeifItem* item = find(items, numbers.next(id_bytes));
      for (uint64_t links = numbers.next(1); links > 0 && !numbers.ended(); --links) {
        const uint64_t index = numbers.next(index_bytes) & (index_bytes == 2 ? 0x7FFF : 0x7F);
        if (item && index > 0 && index <= properties.size()) take_property(properties[index - 1], *item);
      }
    }
  }
}

/// Version, a flag for numbers of four bytes, the grid's rows and columns less one, width, height.
PixelSize grid_size(Bytes grid) {
  const size_t width = big(grid, 1, 1) & 1 ? 4 : 2;
  return {big(grid, 4, width), big(grid, 4 + width, width)};
}

/// The same with a colour of four numbers of 16 bits in place of rows and columns.
PixelSize overlay_size(Bytes overlay) {
  const size_t width = big(overlay, 1, 1) & 1 ? 4 : 2;
  return {big(overlay, 10, width), big(overlay, 10 + width, width)};
}

/// The parameter sets in a decoder configuration (ISO/IEC 14496-15, 8.3.3): arrays of units, each behind its length.
PixelSize hvcc_size(Bytes configuration) {
  PixelSize size;
  size_t at = 23;
  for (uint64_t arrays = big(configuration, 22, 1); arrays > 0 && at < configuration.size(); --arrays) {
    uint64_t units = big(configuration, at + 1, 2);
    at += 3;
    for (; units > 0 && at < configuration.size(); --units) {
      const uint64_t length = big(configuration, at, 2);
      size = larger(size, hevc_unit_size(from(configuration, at + 2, length)));
      at += 2 + length;
    }
  }
  return size;
}

}  // namespace

PixelSize HeifItem::real() const {
  if (type == "grid") return grid_size(content);
  if (type == "iovl") return overlay_size(content);
  if (type == "av01") return larger(av1_size(from(codec, 4)), av1_size(content));
  constexpr size_t kLengthBytes = 4;
  if (type == "hvc1" || type == "hev1") return larger(hvcc_size(codec), hevc_size(content, kLengthBytes));
  return {};
}

std::optional<std::map<uint64_t, HeifItem>> heif_items(Bytes file) try {
  Items items;
  for (const Box& box : boxes_in(file)) {
    if (box.type != "meta") continue;
    const Bytes meta = from(box.content, 4);
    read_types(box_in(meta, "iinf"), items);
    read_contents(file, box_in(meta, "iloc"), box_in(meta, "idat"), items);
    read_properties(box_in(meta, "iprp"), items);
  }
  return items;
} catch (const BeyondLimits&) {
  return std::nullopt;
} catch (const TooManyBoxes&) {
  return std::nullopt;
}

}  // namespace wan
