// Files that bear the name of a model's file and are something else: what downloads leave behind.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace wan {

/// What a file should hold.
enum class Content {
  Safetensors,
  TorchFile,  // a zip archive or a pickle
  Gguf,
  Json,
  Binary,  // of another format
};

/// What torch.save began its files with before it wrote zip archives: the number 0x1950a86a20f9469cfc6c and the version
/// 1001, each pickled by itself.
inline constexpr std::string_view kLegacyTorchStart =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
/// Whether the bytes begin as a safetensors file: a possible length of a header, and its JSON.
bool is_safetensors(std::string_view bytes);

/// What of foreign_content stands in the place of a file of any kind: pointers of Git LFS, git-annex and Xet, web pages,
/// error messages of servers. Empty where the bytes begin as none of them.
std::string stand_in(std::string_view bytes);

/// What the bytes evidently are instead, with the way out: "is a Git LFS pointer, not the file itself; download it
/// again, with git lfs pull". Empty where nothing is recognised. Looks at the beginning alone.
std::string foreign_content(std::string_view bytes, Content wanted);
/// Throws ModelError about `subject` with foreign_content, where there is some.
void refuse_foreign(std::string_view bytes, Content wanted, const std::string& subject);

/// The words for an answer of a server that was saved as the file; `answer` is what it says, or empty.
std::string error_page(std::string_view answer);

/// The name of an unfinished download of `path`, beside it or where hf download keeps them. Empty where there is none.
std::string unfinished_download(const std::filesystem::path& path);
/// Throws ModelError where the file `path` is there, but a download manager still fills it.
void refuse_unfinished(const std::filesystem::path& path);

}  // namespace wan
