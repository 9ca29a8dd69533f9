// Whether there is room for an upload: of its owner's quota, and on the disk.
#include <algorithm>

#include "engine/base/text.h"
#include "engine/serve/api/answers.h"
#include "engine/serve/api/stored_files.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

/// Bytes of the uploads that the store knows.
Awaitable<uint64_t> stored_bytes(ApiContext& context, const std::string& owner) {
  const std::function<uint64_t(Store&)> question = [owner](Store& store) { return store.upload_bytes(owner); };
  co_return co_await context.jobs.ask(question);
}

/// What the disk has beyond what it must keep free; below 0 where it is less.
Awaitable<int64_t> free_on_disk(ApiContext& context) {
  const fs::path& data = context.settings.data;
  const uint64_t least = context.settings.least_free_bytes;
  auto work = [&data, least] {
    std::error_code failed;
    const fs::space_info space = fs::space(data, failed);
    return failed ? INT64_MAX : int64_t(space.available) - int64_t(least);
  };
  co_return co_await context.files.pool().run(std::move(work));
}

}  // namespace

Awaitable<RoomHold> take_quota(ApiContext& context, Access::Form form, const std::string& owner, const Quota& quota,
                               uint64_t bytes) {
  // Held first: of two that ask at once, the second sees the first.
  const RoomHold hold = std::make_shared<UploadRoom::Hold>(context.files.room(), owner, bytes);
  if (quota.upload_bytes == 0) co_return hold;
  const uint64_t stored = co_await stored_bytes(context, owner);
  const uint64_t used = stored + hold->before();
  if (used + bytes > quota.upload_bytes)
    throw HttpError(refusal(form, 403, "bad_request",
                            "Your key may keep " + gigabytes(quota.upload_bytes) + " of uploads here, and has " +
                                gigabytes(used) + "; they are removed with age"));
  co_return hold;
}

Awaitable<RoomHold> take_room(ApiContext& context, Access::Form form, const std::string& owner, const Quota& quota,
                              uint64_t bytes) {
  RoomHold hold = co_await take_quota(context, form, owner, quota, bytes);
  const int64_t free = co_await free_on_disk(context);
  if (free < 0 || uint64_t(free) < bytes) throw HttpError(no_room(form));
  co_return hold;
}

Awaitable<uint64_t> room_left(ApiContext& context, const std::string& owner, const Quota& quota, uint64_t most) {
  const int64_t free = co_await free_on_disk(context);
  most = std::min(most, uint64_t(std::max<int64_t>(free, 0)));
  if (quota.upload_bytes == 0) co_return most;
  const uint64_t stored = co_await stored_bytes(context, owner);
  const uint64_t used = stored + context.files.room().taken(owner);
  co_return std::min(most, quota.upload_bytes - std::min(quota.upload_bytes, used));
}

}  // namespace wan::serve
