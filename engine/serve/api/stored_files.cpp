#include "engine/serve/api/stored_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "engine/serve/net/new_file.h"
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

bool same_bytes(const fs::path& one, const fs::path& other) {
  std::ifstream first(one, std::ios::binary), second(other, std::ios::binary);
  std::array<char, 1 << 16> a, b;
  for (;;) {
    first.read(a.data(), a.size());
    second.read(b.data(), b.size());
    const auto size = size_t(first.gcount());
    if (second.gcount() != first.gcount() || !std::equal(a.begin(), a.begin() + ptrdiff_t(size), b.begin()))
      return false;
    if (size < a.size()) return first.eof() && second.eof();
  }
}

/// To its place and into the store. There is nothing of this name.
Awaitable<void> put_new(ApiContext& context, const UploadName& upload, const fs::path& part, uint64_t bytes) {
  const fs::path path = context.files.upload_path(upload.file);
  auto move = [&] { move_durably(part, path); };
  co_await context.files.slow_pool().run(move);
  PutUpload known{.file = upload.file, .owner = upload.owner, .type = upload.type, .bytes = bytes, .created = now_ms()};
  std::vector<Change> changes;
  changes.emplace_back(std::move(known));
  co_await context.jobs.write(std::move(changes));
  context.files.in_use().came(upload.file);
}

/// What comes to a name that is taken.
Awaitable<void> put_again(ApiContext& context, Access::Form form, const UploadName& upload, const fs::path& part) {
  const fs::path path = context.files.upload_path(upload.file);
  auto compare = [&] {
    const bool same = same_bytes(part, path);
    remove_quietly(part);
    return same;
  };
  const bool same = co_await context.files.slow_pool().run(std::move(compare));
  if (!same)
    throw HttpError(
        refusal(form, 403, "bad_request", "This upload is whole already and stays as it is; begin another"));
}

}  // namespace

fs::path new_part(const Files& files) {
  return files.parts_path(random_hex(16));
}

Awaitable<void> adopt(ApiContext& context, Access::Form form, const UploadName& upload, const fs::path& part,
                      uint64_t bytes) {
  const FilesInUse::Arrival arrival(context.files.in_use(), upload.file);
  std::exception_ptr failed;
  bool is_new = false;
  try {
    if (!arrival.is_first())
      throw HttpError(refusal(form, 503, "internal_error", "This upload is being taken at this moment; try again later",
                              {{"Retry-After", "1"}}));
    const std::optional<PutUpload> known = co_await known_upload(context, upload.file);
    is_new = !known;
    if (known)
      co_await put_again(context, form, upload, part);
    else
      co_await put_new(context, upload, part, bytes);
  } catch (...) {
    failed = std::current_exception();
  }
  if (!failed) co_return;
  const fs::path path = context.files.upload_path(upload.file);
  auto clean = [&] {
    remove_quietly(part);
    if (is_new) remove_quietly(path);  // the store does not know it
  };
  co_await context.files.pool().run(std::move(clean));
  std::rethrow_exception(failed);
}

Awaitable<void> keep_bytes(ApiContext& context, Access::Form form, const UploadName& upload, std::string_view bytes) {
  const fs::path part = new_part(context.files);
  auto write = [&] {
    NewFile file(part);
    file.create();
    file.write(bytes);
    file.keep();
  };
  co_await context.files.slow_pool().run(write);
  co_await adopt(context, form, upload, part, bytes.size());
}

Awaitable<void> keep_copy(ApiContext& context, Access::Form form, const Quota& quota, const UploadName& upload,
                          const fs::path& of) {
  const fs::path part = new_part(context.files);
  // A link is as old as its file: it must not pass for what was left lying.
  FilesInUse::Claim claim(context.files.in_use());
  claim.add(part.filename().string());
  auto measure = [&] {
    std::error_code failed;
    return uint64_t(fs::file_size(of, failed));
  };
  const uint64_t bytes = co_await context.files.slow_pool().run(std::move(measure));
  const RoomHold hold = co_await take_quota(context, form, upload.owner, quota, bytes);
  auto copy = [&] {
    std::error_code unlinkable;
    fs::create_hard_link(of, part, unlinkable);
    try {
      if (unlinkable) fs::copy_file(of, part);
    } catch (...) {
      remove_quietly(part);
      throw;
    }
    return uint64_t(fs::file_size(part));
  };
  const uint64_t copied = co_await context.files.slow_pool().run(copy);
  co_await adopt(context, form, upload, part, copied);
}

Awaitable<std::optional<PutUpload>> known_upload(ApiContext& context, const std::string& file) {
  const std::function<std::optional<PutUpload>(Store&)> question = [file](Store& store) {
    return store.find_upload(file);
  };
  co_return co_await context.jobs.ask(question);
}

Awaitable<std::optional<fs::path>> find_upload(ApiContext& context, const std::string& file, const Caller& caller) {
  const std::optional<PutUpload> upload = co_await known_upload(context, file);
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
