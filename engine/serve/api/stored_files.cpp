#include "engine/serve/api/stored_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>

#include "engine/base/text.h"
#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/times.h"
#include "models/files/atomic_file.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

/// The bytes of a file to the disk, and the file to its place. Throws std::system_error.
void move_durably(const fs::path& from, const fs::path& to) {
  const int file = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = file >= 0 && fdatasync(file) == 0;
  const int error = errno;
  if (file >= 0) close(file);
  if (!synced) throw std::system_error(error, std::generic_category(), from.filename().string());
  fs::rename(from, to);
  sync_folder(to.parent_path().string());
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

fs::path new_part(const Files& files) {
  return files.parts_path(random_hex(16));
}

Awaitable<void> adopt(ApiContext& context, const UploadName& upload, const fs::path& part, uint64_t bytes) {
  const fs::path path = context.files.upload_path(upload.file);
  std::exception_ptr failed;
  try {
    co_await context.files.pool().run([&] { move_durably(part, path); });
    PutUpload known{
        .file = upload.file, .owner = upload.owner, .type = upload.type, .bytes = bytes, .created = now_ms()};
    std::vector<Change> changes;
    changes.emplace_back(std::move(known));
    co_await context.jobs.write(std::move(changes));
  } catch (...) {
    failed = std::current_exception();
  }
  if (!failed) co_return;
  co_await context.files.pool().run([&] {
    remove_quietly(part);
    remove_quietly(path);
  });
  std::rethrow_exception(failed);
}

Awaitable<void> keep_bytes(ApiContext& context, const UploadName& upload, const std::string& bytes) {
  const fs::path part = new_part(context.files);
  co_await context.files.pool().run([&] {
    std::ofstream file(part, std::ios::binary);
    file.write(bytes.data(), std::streamsize(bytes.size()));
    file.close();
    if (file) return;
    remove_quietly(part);
    throw std::system_error(EIO, std::generic_category(), "an input could not be written");
  });
  co_await adopt(context, upload, part, bytes.size());
}

Awaitable<void> keep_copy(ApiContext& context, const UploadName& upload, const fs::path& of) {
  const fs::path part = new_part(context.files);
  const uint64_t bytes = co_await context.files.pool().run([&] {
    std::error_code unlinkable;
    fs::create_hard_link(of, part, unlinkable);
    if (unlinkable) fs::copy_file(of, part);
    return uint64_t(fs::file_size(part));
  });
  co_await adopt(context, upload, part, bytes);
}

Awaitable<void> check_room(ApiContext& context, Access::Form form, const std::string& owner, const Quota& quota,
                           uint64_t bytes) {
  if (quota.upload_bytes > 0) {
    const std::function<uint64_t(Store&)> question = [owner](Store& store) { return store.upload_bytes(owner); };
    const uint64_t used = co_await context.jobs.ask(question);
    if (used + bytes > quota.upload_bytes)
      throw HttpError(refusal(form, 403, "bad_request",
                              "Your key may keep " + gigabytes(quota.upload_bytes) + " of uploads here, and has " +
                                  gigabytes(used) + "; they are removed with age"));
  }
  const fs::path data = context.settings.data;
  const uint64_t free = co_await context.files.pool().run([&]() -> uint64_t {
    std::error_code failed;
    const fs::space_info space = fs::space(data, failed);
    return failed ? UINT64_MAX : uint64_t(space.available);
  });
  if (free < bytes || free - bytes < context.settings.least_free_bytes)
    throw HttpError(
        refusal(form, 503, "internal_error", "The server's disk is full; try again later", {{"Retry-After", "60"}}));
}

Awaitable<std::optional<fs::path>> find_upload(ApiContext& context, const std::string& file, const Caller& caller) {
  const std::function<std::optional<PutUpload>(Store&)> question = [file](Store& store) {
    return store.find_upload(file);
  };
  const std::optional<PutUpload> upload = co_await context.jobs.ask(question);
  if (!upload) co_return std::nullopt;
  const std::optional<std::string> owner = caller.owner();
  if (owner && *owner != upload->owner) co_return std::nullopt;
  const fs::path path = context.files.upload_path(file);
  const bool there = co_await context.files.pool().run([&] {
    std::error_code failed;
    return fs::is_regular_file(fs::symlink_status(path, failed));
  });
  co_return there ? std::optional(path) : std::nullopt;
}

}  // namespace wan::serve
