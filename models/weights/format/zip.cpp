// The structures are those of PKWARE's APPNOTE.TXT; section numbers refer to it.
#include "models/weights/format/zip.h"

#include <algorithm>
#include <vector>

#include "models/files/bytes.h"
#include "models/files/error.h"

namespace wan {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kEntry = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr uint16_t kExtra64 = 1;
constexpr size_t kEndSize = 22, kLocator64Size = 20;
constexpr uint64_t kLargestDirectory = 64'000'000;  // a checkpoint's has some ten kilobytes
constexpr uint32_t kIn64 = 0xFFFFFFFF;              // "see the zip64 field"
constexpr uint16_t kEncrypted = 1, kSizesFollow = 8;

struct Directory {
  uint64_t offset, size, entries;
};

/// 4.3.16, 4.3.15 and 4.3.14: the end record, and where that says so the zip64 one.
Directory find_directory(std::string_view archive, const std::string& subject) {
  constexpr size_t kLongestComment = 65535;
  const size_t earliest = archive.size() - std::min(archive.size(), kEndSize + kLongestComment);
  size_t at =
      archive.size() < kEndSize ? std::string_view::npos : archive.rfind("PK\x05\x06", archive.size() - kEndSize);
  if (at == std::string_view::npos || at < earliest) {
    throw ModelError(subject, "is cut short or holds other data at its end: the table of the archive is not in its " +
                                  std::to_string(archive.size()) + " bytes; download it again");
  }
  ByteReader end(archive.substr(at), subject);
  end.skip(10);
  Directory directory{0, 0, end.number<uint16_t>()};
  directory.size = end.number<uint32_t>();
  directory.offset = end.number<uint32_t>();
  if (at >= kLocator64Size) {
    ByteReader locator(archive.substr(at - kLocator64Size, kLocator64Size), subject);
    if (locator.number<uint32_t>() == kLocator64) {
      locator.skip(4);
      const auto end64_at = locator.number<uint64_t>();
      if (end64_at > at)
        throw ModelError(subject, "must have its table inside, has it past the end; download it again");
      ByteReader end64(archive.substr(end64_at), subject);
      if (end64.number<uint32_t>() != kEnd64) throw ModelError(subject, "has a broken zip64 table; download it again");
      end64.skip(28);
      directory.entries = end64.number<uint64_t>();
      directory.size = end64.number<uint64_t>();
      directory.offset = end64.number<uint64_t>();
    }
  }
  if (directory.offset > at || directory.size > at - directory.offset || directory.size > kLargestDirectory) {
    throw ModelError(subject, "must have its table inside, has " + std::to_string(directory.size) +
                                  " bytes of it at byte " + std::to_string(directory.offset) + "; download it again");
  }
  return directory;
}

/// 4.3.12: one record as the directory describes it.
struct Entry {
  std::string name;
  uint64_t size, packed_size, local_header;
  uint16_t method, flags;
};

/// 4.5.3: sizes and offset that did not fit in 32 bits, in this order and only those.
void take_zip64(Entry& entry, ByteReader extra) {
  while (extra.left() >= 4) {
    const auto id = extra.number<uint16_t>();
    const auto length = extra.number<uint16_t>();
    if (id != kExtra64) {
      extra.skip(length);
      continue;
    }
    for (uint64_t* field : {&entry.size, &entry.packed_size, &entry.local_header}) {
      if (*field == kIn64) *field = extra.number<uint64_t>();
    }
    return;
  }
}

Entry take_entry(ByteReader& directory, const std::string& subject) {
  if (directory.number<uint32_t>() != kEntry) throw ModelError(subject, "has a broken zip table; download it again");
  Entry entry;
  directory.skip(4);
  entry.flags = directory.number<uint16_t>();
  entry.method = directory.number<uint16_t>();
  directory.skip(8);
  entry.packed_size = directory.number<uint32_t>();
  entry.size = directory.number<uint32_t>();
  const auto name_length = directory.number<uint16_t>();
  const auto extra_length = directory.number<uint16_t>();
  const auto comment_length = directory.number<uint16_t>();
  directory.skip(8);
  entry.local_header = directory.number<uint32_t>();
  entry.name = directory.take(name_length);
  take_zip64(entry, ByteReader(directory.take(extra_length), subject));
  directory.skip(comment_length);
  return entry;
}

[[noreturn]] void refuse_packed(const std::string& subject, const std::string& name) {
  throw ModelError(subject + ": " + printable(name),
                   "must be stored as it is, is compressed or encrypted; load it with torch.load and save it again");
}

/// 4.3.7: the payload begins after the record's own header, whose extra field has another length than the directory's.
std::string_view payload(std::string_view archive, const Entry& entry, uint64_t directory_at,
                         const std::string& subject) {
  const std::string record = subject + ": " + printable(entry.name);
  if (entry.flags & kEncrypted) refuse_packed(subject, entry.name);
  if ((entry.method == 0 && entry.packed_size != entry.size) || entry.local_header > directory_at) {
    throw ModelError(record, "has a broken entry in the zip table; download it again");
  }
  const std::string_view before_directory = archive.substr(0, directory_at);
  ByteReader local(before_directory.substr(entry.local_header), record);
  const auto signature = local.number<uint32_t>();
  local.skip(2);
  const auto flags = local.number<uint16_t>();
  const auto method = local.number<uint16_t>();
  local.skip(8);
  const auto packed_size = local.number<uint32_t>();
  const auto size = local.number<uint32_t>();
  const auto name_length = local.number<uint16_t>();
  const auto extra_length = local.number<uint16_t>();
  const std::string_view name = local.take(name_length);
  local.skip(extra_length);
  const bool sizes_agree =
      (flags & kSizesFollow) || size == kIn64 || (size == entry.size && packed_size == entry.packed_size);
  if (signature != kLocalHeader || method != entry.method || name != entry.name || !sizes_agree) {
    throw ModelError(record, "has a header that contradicts the zip table; download it again");
  }
  return local.take(entry.packed_size);
}

/// Where a record lies with its own header.
struct Extent {
  uint64_t begin, end;
  std::string name;
};

/// Records inside others let a small file hold any number of large ones.
void refuse_overlap(std::vector<Extent>& extents, const std::string& subject) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      throw ModelError(subject + ": " + printable(extents[i].name), "must lie apart from other records, lies inside " +
                                                                        printable(extents[i - 1].name) +
                                                                        "; do not use this file");
}

}  // namespace

std::optional<std::string_view> ZipTable::find(const std::string& name, const std::string& subject) const {
  if (packed.contains(name)) refuse_packed(subject, name);
  const auto found = records.find(name);
  return found == records.end() ? std::nullopt : std::optional(found->second);
}

ZipTable read_zip(std::string_view archive, const std::string& subject) {
  const Directory where = find_directory(archive, subject);
  ZipTable table;
  table.directory = archive.substr(where.offset, where.size);
  ByteReader directory(table.directory, subject);
  std::vector<Extent> extents;
  for (uint64_t i = 0; i < where.entries; ++i) {
    const Entry entry = take_entry(directory, subject);
    const std::string_view bytes = payload(archive, entry, where.offset, subject);
    const bool is_new =
        entry.method == 0 ? table.records.emplace(entry.name, bytes).second : table.packed.insert(entry.name).second;
    if (!is_new || (table.records.contains(entry.name) && table.packed.contains(entry.name)))
      throw ModelError(subject + ": " + printable(entry.name), "occurs twice in the zip table; do not use this file");
    const uint64_t end = static_cast<uint64_t>(bytes.data() + bytes.size() - archive.data());
    extents.push_back({entry.local_header, end, entry.name});
  }
  refuse_overlap(extents, subject);
  if (directory.left() > 0) throw ModelError(subject, "has more in its zip table than it counts; download it again");
  return table;
}

}  // namespace wan
