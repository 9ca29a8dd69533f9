// WaveSpeed's uploads: a ticket that names a signed URL.
#include "engine/serve/api/answers.h"
#include "engine/serve/api/uploads.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Form = Access::Form;

std::string media_of(const std::string& type) {
  const std::string kind = type.substr(0, type.find('/'));
  return kind == "image" || kind == "audio" || kind == "video" ? kind : "file";
}

Awaitable<Answer> give_ticket(Uploads& uploads, Exchange& exchange) {
  const ApiContext& context = uploads.context;
  const Caller caller = context.access.caller(exchange, Form::WaveSpeed);
  const json body = co_await read_object(exchange, context.files.pool(), Form::WaveSpeed, kMostUploadRequest);
  const std::string name = text_in(body, "filename", "upload", Form::WaveSpeed);
  const auto size = body.find("size");
  if (size != body.end() && !size->is_number_unsigned() && !size->is_null())
    co_return refusal(Form::WaveSpeed, 400, "bad_request", "size: Input should be a valid integer from 0 on");
  const uint64_t bytes = size != body.end() && size->is_number_unsigned() ? size->get<uint64_t>() : 0;
  if (bytes > context.settings.most_file_bytes) co_return uploads.too_large(Form::WaveSpeed);
  const RoomHold room = co_await take_room(uploads.context, Form::WaveSpeed, caller.name, caller.quota, bytes);
  const UploadName upload{.file = Files::new_name(name),
                          .owner = caller.name,
                          .type = plain_type(text_in(body, "content_type", "", Form::WaveSpeed)),
                          .quota = caller.quota.upload_bytes};
  const int64_t now = now_ms();
  const std::string url = exchange.base_url() + "/api/v3/media/put/files/uploads/" + upload.file +
                          uploads.signed_urls.query(uploads.context.access, upload, "", now);
  const ordered_json put = {{"method", "PUT"},
                            {"url", url},
                            {"headers", {{"Content-Type", upload.type}}},
                            {"expires_at", iso_time(now + std::chrono::milliseconds(SignedUrls::kValid).count())}};
  const ordered_json data = {{"type", media_of(upload.type)},
                             {"download_url", uploads.url_of(exchange, upload.file)},
                             {"filename", name},
                             {"size", bytes},
                             {"upload", put}};
  co_return json_answer({{"code", 200}, {"message", "success"}, {"data", data}});
}

}  // namespace

void add_upload_tickets(Router& router, const std::shared_ptr<Uploads>& uploads) {
  router.add("POST", "/api/v3/media/uploads",
             [uploads](Exchange& at, const Captures&) { return give_ticket(*uploads, at); });
}

}  // namespace wan::serve
