// Files that clients bring: written beside, moved to their place when they are whole, and noted with their owner.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "engine/serve/api/context.h"

namespace wan::serve {

// What these coroutines are given by reference stays with the caller, which waits for them.

/// An upload and whose it is.
struct UploadName {
  std::string file;    // by Files::new_name
  std::string owner;   // name of the key; empty without keys
  std::string type;    // as the client calls it
  uint64_t quota = 0;  // bytes that the owner may keep here; 0: no limit. Known of signed URLs alone
};

/// A path in data/parts that is free.
std::filesystem::path new_part(const Files& files);
/// Moves a finished part to its place: the file and its name are on the disk, and the store knows it. What was there under
/// this name is replaced. Nothing is left of the part where that fails.
Awaitable<void> adopt(ApiContext& context, const UploadName& upload, const std::filesystem::path& part, uint64_t bytes);
/// The same for bytes in memory.
Awaitable<void> keep_bytes(ApiContext& context, const UploadName& upload, const std::string& bytes);
/// The same for the copy of a file that is on the server already, a hard link where the disk has such.
Awaitable<void> keep_copy(ApiContext& context, const UploadName& upload, const std::filesystem::path& of);

/// Throws HttpError where there is no room for `bytes` more: 403 where the owner's quota is used up, 503 where the disk is
/// full.
Awaitable<void> check_room(ApiContext& context, Access::Form form, const std::string& owner, const Quota& quota,
                           uint64_t bytes);

/// The path of an upload that is there and that the caller may use.
Awaitable<std::optional<std::filesystem::path>> find_upload(ApiContext& context, const std::string& file,
                                                            const Caller& caller);

}  // namespace wan::serve
