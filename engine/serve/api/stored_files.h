// Files that clients bring: written beside, moved to their place when they are whole, and noted with their owner.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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

using RoomHold = std::shared_ptr<UploadRoom::Hold>;

/// Holds room for `bytes` more, until the store knows them. Throws HttpError where there is none: 403 where the owner's
/// quota is used up, what is on the way and in parts included; 503 where the disk is full.
Awaitable<RoomHold> take_room(ApiContext& context, Access::Form form, const std::string& owner, const Quota& quota,
                              uint64_t bytes);
/// The same for what takes room of the quota alone: the disk has it already.
Awaitable<RoomHold> take_quota(ApiContext& context, Access::Form form, const std::string& owner, const Quota& quota,
                               uint64_t bytes);
/// How many bytes take_room() would give, at most `most`.
Awaitable<uint64_t> room_left(ApiContext& context, const std::string& owner, const Quota& quota, uint64_t most);

/// A path in data/parts that is free.
std::filesystem::path new_part(const Files& files);
/// Moves a finished part to its place: the file and its name are on the disk, and the store knows it. Nothing is left
/// of the part where that fails. A name that the store knows already stays what it is: the same bytes once more (a
/// client that asks again) are taken as done, others are refused with 403. Throws HttpError 503 where
/// the same name comes to its place at this moment, and std::system_error where the disk does not take it.
Awaitable<void> adopt(ApiContext& context, Access::Form form, const UploadName& upload,
                      const std::filesystem::path& part, uint64_t bytes);
/// The same for bytes in memory.
Awaitable<void> keep_bytes(ApiContext& context, Access::Form form, const UploadName& upload, std::string_view bytes);
/// The same for the copy of a file that is on the server already, a hard link where the disk has such. Throws as
/// take_room(), too.
Awaitable<void> keep_copy(ApiContext& context, Access::Form form, const Quota& quota, const UploadName& upload,
                          const std::filesystem::path& of);

/// What the store knows of an upload, whosever it is.
Awaitable<std::optional<PutUpload>> known_upload(ApiContext& context, const std::string& file);
/// The path of an upload that is there and that the caller may use.
Awaitable<std::optional<std::filesystem::path>> find_upload(ApiContext& context, const std::string& file,
                                                            const Caller& caller);

}  // namespace wan::serve
