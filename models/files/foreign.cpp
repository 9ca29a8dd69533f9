#include "models/files/foreign.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>

#include "models/files/error.h"
#include "models/files/utf8.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace std::string_view_literals;

constexpr std::string_view kAgain = "; download it again";

/// Files that begin in this way, whatever their name.
struct Start {
  std::string_view bytes, words;
};
constexpr std::array kPointers = {
    Start{"version https://git-lfs.github.com/spec/"sv,
          "is a Git LFS pointer, not the file itself; download it again, with git lfs pull"sv},
    Start{"version https://hawser.github.com/spec/"sv,
          "is a Git LFS pointer, not the file itself; download it again, with git lfs pull"sv},
    Start{"/annex/objects/"sv, "is a git-annex pointer, not the file itself; fetch it with git annex get"sv},
    Start{"# xet version"sv, "is a Xet pointer, not the file itself; download it again, with hf download"sv},
};
constexpr std::array kPacked = {
    Start{"\x1f\x8b"sv, "a gzip archive"sv},
    Start{"PK\x03\x04"sv, "a zip archive"sv},
    Start{"\x28\xb5\x2f\xfd"sv, "a zstd archive"sv},
    Start{"\xfd\x37zXZ\0"sv, "an xz archive"sv},
    Start{"BZh"sv, "a bzip2 archive"sv},
    Start{"7z\xbc\xaf\x27\x1c"sv, "a 7z archive"sv},
    Start{"Rar!\x1a\x07"sv, "a rar archive"sv},
    Start{"\x89HDF\r\n"sv, "an HDF5 file"sv},
};

bool starts_with_letters(std::string_view text, std::string_view word) {
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
         });
}

std::string_view without_space(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

/// The text between <tag> and </tag>; empty where there is none.
std::string_view element(std::string_view text, const std::string& tag) {
  const size_t open = text.find("<" + tag + ">");
  if (open == std::string_view::npos) return {};
  const size_t begin = open + tag.size() + 2, end = text.find("</" + tag + ">", begin);
  return end == std::string_view::npos ? std::string_view() : text.substr(begin, end - begin);
}

std::string page(std::string_view text) {
  constexpr size_t kLooked = 4096;
  text = without_space(text.substr(0, kLooked));
  const auto is = [&](std::string_view word) { return starts_with_letters(text, word); };
  if (is("<!doctype html") || is("<html") || is("<head") || is("<body"))
    return "is a web page, not the file itself" + std::string(kAgain) + ", signed in where the page asks for it";
  if (is("<?xml") || is("<error")) return error_page(element(text, "Code"));
  return "";
}

/// Whether a small file is text throughout.
bool is_text(std::string_view bytes) {
  constexpr size_t kLongest = 64 << 10;
  return bytes.size() <= kLongest && is_utf8(bytes) && std::all_of(bytes.begin(), bytes.end(), [](unsigned char byte) {
           return byte >= 0x20 ? byte != 0x7F : byte == '\t' || byte == '\n' || byte == '\r';
         });
}

std::string text(std::string_view bytes, Content wanted) {
  constexpr size_t kLooked = 4096;
  const std::string_view begin = without_space(bytes.substr(0, kLooked));
  const bool json = begin.starts_with('{') || begin.starts_with('[');
  if (json && wanted == Content::Json) return "";
  if (json && begin.substr(0, 200).find("rror") != std::string_view::npos) return error_page(begin.substr(0, 60));
  if (!is_text(bytes)) return "";
  return "is a text, not the file itself: \"" + printable(begin.substr(0, std::min<size_t>(begin.find('\n'), 60))) +
         "\"" + std::string(kAgain);
}

/// A format in which weights are published.
struct Weights {
  Content content;
  const char *words, *ending;
};

/// torch.save writes data.pkl in front of all else.
bool is_torch_file(std::string_view bytes) {
  constexpr size_t kLooked = 4096;
  if (bytes.starts_with(kLegacyTorchStart)) return true;
  return bytes.starts_with("PK\x03\x04") && bytes.substr(0, kLooked).find("/data.pkl") != std::string_view::npos;
}

/// The format that the bytes begin as; nothing for another one.
std::optional<Weights> weights_in(std::string_view bytes) {
  if (is_safetensors(bytes)) return Weights{Content::Safetensors, "a safetensors file", ".safetensors"};
  if (is_torch_file(bytes)) return Weights{Content::TorchFile, "a torch file", ".pth"};
  if (bytes.starts_with("GGUF")) return Weights{Content::Gguf, "a GGUF file", ".gguf"};
  return std::nullopt;
}

/// The words for weights in one format where something else is wanted.
std::string other_weights(const Weights& found, Content wanted) {
  const std::string is = std::string("is ") + found.words;
  if (wanted == Content::Json) return is + ", not the file itself; take the file of the published model";
  if (wanted == Content::Binary) return is + " of weights, not the file that is wanted; name another";
  return is + " under another name; name it " + found.ending;
}

bool begins_with_zeros(std::string_view bytes) {
  constexpr size_t kLooked = 4096;
  return bytes.size() >= 1024 && std::all_of(bytes.begin(), bytes.begin() + std::min(bytes.size(), kLooked),
                                             [](char byte) { return byte == 0; });
}

/// The first file that hf download has not finished in one of its folders; empty where there is none.
std::string unfinished_in(const fs::path& folder) {
  constexpr int kMostLooked = 1000;
  std::error_code error;
  fs::directory_iterator entry(folder, error), end;
  for (int looked = 0; !error && entry != end && looked < kMostLooked; ++looked, entry.increment(error))
    if (entry->path().extension() == ".incomplete") return shown_text(entry->path().filename().string(), 80);
  return "";
}

}  // namespace

bool is_safetensors(std::string_view bytes) {
  constexpr uint64_t kLongestHeader = 100'000'000;
  uint64_t length = 0;
  if (bytes.size() < 10 || bytes[8] != '{') return false;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length <= kLongestHeader;
}

std::string error_page(std::string_view answer) {
  return "is a server's error message" + (answer.empty() ? "" : " (" + printable(answer.substr(0, 60)) + ")") +
         ", not the file itself" + std::string(kAgain);
}

std::string stand_in(std::string_view bytes) {
  for (const Start& start : kPointers)
    if (bytes.starts_with(start.bytes)) return std::string(start.words);
  return page(bytes);
}

std::string foreign_content(std::string_view bytes, Content wanted) {
  if (bytes.empty()) return "must not be empty" + std::string(kAgain);
  if (const std::string found = stand_in(bytes); !found.empty()) return found;
  if (const auto weights = weights_in(bytes)) return weights->content == wanted ? "" : other_weights(*weights, wanted);
  for (const Start& start : kPacked) {
    if (!bytes.starts_with(start.bytes) || (wanted == Content::TorchFile && start.bytes.starts_with("PK"))) continue;
    const bool archive = start.words.ends_with("archive");
    return "is " + std::string(start.words) + ", not the file itself" +
           (archive ? "; unpack it, or download the file" : "; take the file of the published model");
  }
  if (begins_with_zeros(bytes)) return "begins with zeros, as an unfinished download does" + std::string(kAgain);
  return text(bytes, wanted);
}

void refuse_foreign(std::string_view bytes, Content wanted, const std::string& subject) {
  if (const std::string found = foreign_content(bytes, wanted); !found.empty()) throw ModelError(subject, found);
}

std::string unfinished_download(const fs::path& path) {
  std::error_code error;
  for (const char* ending : {".incomplete", ".part", ".partial", ".tmp", ".aria2", ".crdownload", ".download"})
    if (fs::exists(path.string() + ending, error)) return shown_text(path.filename().string(), 100) + ending;
  // hf download --local-dir: a hash and the blob's name, in a folder for each of the repository's.
  const fs::path folder = path.parent_path(), hub = fs::path(".cache") / "huggingface" / "download";
  const std::string here = unfinished_in(folder / hub);
  return here.empty() ? unfinished_in(folder.parent_path() / hub / folder.filename()) : here;
}

void refuse_unfinished(const fs::path& path) {
  std::error_code error;
  // aria2's own file: what it describes has its full size from the start.
  if (fs::exists(path.string() + ".aria2", error))
    throw ModelError(path.string(),
                     "must be whole, and .aria2 beside it says that its download is unfinished; start that again");
}

}  // namespace wan
