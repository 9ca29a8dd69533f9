#include "engine/serve/serve.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/serve/api/answers.h"
#include "engine/serve/api/fal_answers.h"
#include "engine/serve/api/page.h"
#include "engine/serve/data_folder.h"
#include "engine/serve/net/answer.h"
#include "engine/serve/queue/job_json.h"
#include "engine/serve/service.h"

namespace wan::serve {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kForWorkers{45};  // to save their state
constexpr std::chrono::seconds kForAnswers{3};   // to requests that are answered meanwhile
constexpr const char* kOwnCertificate = "certificate.pem";

/// What is to be right before anything listens, in the order in which the parts need it.
Settings checked(Settings settings, const RunOptions& options) {
  prepare_data_folder(settings.data);
  if (access(options.worker.c_str(), X_OK) != 0)
    throw std::runtime_error("[wan-engine] must lie beside wan-serve and be a program, got " +
                             shown_path(options.worker.string()) + "; ./run build makes both");
  if (options.self_signed) {
    settings.net.certificate = settings.net.key = settings.data / kOwnCertificate;
    make_certificate(settings.net.certificate, settings.net.address);
  }
  return settings;
}

std::string listen_text(const NetOptions& net) {
  const bool brackets = net.address.find(':') != std::string::npos;
  return (brackets ? "[" + net.address + "]" : net.address) + ":" + std::to_string(net.port);
}

Access::Options access_options(const Settings& settings) {
  Access::Options options;
  if (!settings.keys.empty()) options.keys = read_keys(settings.keys);
  options.listen = listen_text(settings.net);
  options.public_url = settings.net.public_url;
  options.cors = settings.cors;
  options.secure_cookies = !settings.net.certificate.empty() || settings.net.public_url.starts_with("https://");
  options.requests_per_second = settings.requests_per_second;
  return options;
}

RetentionOptions retention_options(const Settings& settings) {
  RetentionOptions options;
  options.data = settings.data;
  options.keep = settings.keep;
  options.keep_bytes = settings.keep_bytes;
  options.least_free_bytes = settings.least_free_bytes;
  return options;
}

WebhookOptions webhook_options(const Settings& settings) {
  WebhookOptions options;
  options.sending.private_urls = settings.private_urls;
  return options;
}

const char* name_of(int signal) {
  return signal == SIGTERM ? "SIGTERM" : signal == SIGINT ? "SIGINT" : "SIGHUP";
}

}  // namespace

Service::Service(asio::io_context& io, Settings settings, RunOptions options)
    : io_(io),
      settings_(checked(std::move(settings), options)),
      options_(std::move(options)),
      signals_(io, SIGINT, SIGTERM, SIGHUP),
      access_(access_options(settings_)),
      jobs_(io, open_sqlite(settings_.data / kDatabase), options_.report),
      files_(settings_.data, jobs_),
      retention_(
          io, jobs_, files_, pool_, retention_options(settings_),
          [this](const std::string& why) { dispatcher_.pause(damage_.empty() ? why : damage_); },
          [this] { damage_.empty() ? dispatcher_.resume() : dispatcher_.pause(damage_); }, options_.report),
      dispatcher_(io, jobs_, settings_, options_.worker, options_.report),
      webhooks_(io, jobs_, webhook_options(settings_), webhook_body, options_.report),
      api_{settings_, jobs_, files_, access_, dispatcher_},
      status_{jobs_,
              access_,
              dispatcher_,
              metrics_,
              [this] { return server_ ? server_->connections() : 0; },
              [this](MetricText& out) { write_metrics(out); }} {
  set_up_jobs();
  add_routes();
  server_.emplace(
      io, settings_.net, [this](Exchange& exchange) { return answer(exchange); }, options_.report);
}

Service::~Service() = default;

void Service::set_up_jobs() {
  // The dispatcher has set on_submit before.
  jobs_.on_submit = [this, next = std::move(jobs_.on_submit)](const JobPtr& job) {
    const std::string& owner = job->job.owner;
    options_.report("job=" + job->job.id + " queued endpoint=" + job->job.endpoint +
                    (owner.empty() ? "" : " key=" + owner));
    retention_.submitted(job);
    if (next) next(job);
  };
  jobs_.on_end = [this, next = std::move(jobs_.on_end)](const JobPtr& job) {
    const JobError* error = job->job.error ? &*job->job.error : nullptr;
    options_.report("job=" + job->job.id + " " + status_name(job->job.status) +
                    (error && !error->type.empty() ? " error_type=" + error->type : ""));
    metrics_.job_ended(job->job);
    retention_.ended(job);
    webhooks_.ended(job);
    if (next) next(job);
  };
  jobs_.on_remove = [this](const Job& job) { retention_.remove_files(job); };
}

void Service::add_routes() {
  add_status_routes(router_, status_);
  add_page_routes(router_, api_);
  add_api_routes(router_, api_);
}

Awaitable<Answer> Service::routed(Exchange& exchange) {
  access_.check_source(exchange);
  if (std::optional<Answer> preflight = access_.preflight(exchange)) co_return std::move(*preflight);
  co_return co_await router_.answer(exchange);
}

Awaitable<Answer> Service::answer(Exchange& exchange) {
  Answer answer;
  try {
    answer = co_await routed(exchange);
  } catch (HttpError& error) {
    answer = std::move(error.answer);
  } catch (const std::exception& error) {
    options_.report(exchange.method() + " " + exchange.path() + ": " + error.what());
    answer = is_full_disk(error) ? no_room(form_of(exchange)) : internal_error();
  }
  answer = in_form(form_of(exchange), std::move(answer));
  for (Header& header : access_.cors_headers(exchange)) answer.headers.push_back(std::move(header));
  ++metrics_.answers[answer.status];
  co_return answer;
}

void Service::write_metrics(MetricText& out) const {
  const DiskUse use = retention_.use();
  out.family("wan_data_bytes", "gauge", "What lies in the data folder, measured once a minute.");
  out.value("wan_data_bytes", double(use.outputs), {{"folder", "outputs"}});
  out.value("wan_data_bytes", double(use.previews), {{"folder", "previews"}});
  out.value("wan_data_bytes", double(use.uploads), {{"folder", "uploads"}});
  out.value("wan_data_bytes", double(use.parts), {{"folder", "parts"}});
  out.family("wan_disk_free_bytes", "gauge", "What is left on the disk of the data folder.");
  out.value("wan_disk_free_bytes", double(use.free));
  out.family("wan_removed_total", "counter", "What was removed for its age or for its bytes.");
  out.value("wan_removed_total", double(retention_.removed_jobs()), {{"kind", "jobs"}});
  out.value("wan_removed_total", double(retention_.removed_uploads()), {{"kind", "uploads"}});
  const Webhooks::Counts hooks = webhooks_.counts();
  out.family("wan_webhooks_waiting", "gauge", "Messages to webhooks that were not yet taken.");
  out.value("wan_webhooks_waiting", double(hooks.waiting));
  out.family("wan_webhooks_total", "counter",
             "Messages to webhooks, by what came of them; failed tries by themselves.");
  out.value("wan_webhooks_total", double(hooks.sent), {{"result", "taken"}});
  out.value("wan_webhooks_total", double(hooks.failed_tries), {{"result", "failed_try"}});
  out.value("wan_webhooks_total", double(hooks.given_up), {{"result", "given_up"}});
}

void Service::say_where() {
  const std::vector<std::string>& devices = settings_.devices;
  NetOptions net = settings_.net;
  net.port = server_->port();
  const std::string url = (net.certificate.empty() ? "http://" : "https://") + listen_text(net);
  std::string names;
  for (const std::string& device : devices) names += (names.empty() ? "" : ", ") + device;
  options_.listens("listens at " + url + " (page at /), " + std::to_string(devices.size()) +
                   (devices.size() == 1 ? " worker on " : " workers on ") + names);
  if (settings_.keys.empty() && settings_.no_auth)
    options_.report("[keys] none are asked for: everybody may do everything");
}

void Service::take_damage(const std::string& why) {
  damage_ = "the database is damaged (" + why + ")";
  jobs_.refuse_changes("[data] " + damage_);
  dispatcher_.pause(damage_);
  options_.report("[data] " + damage_ + ": no job is taken or begun; stop the server, and restore " +
                  shown_path((settings_.data / kDatabase).string()) +
                  " from a copy, or move it and its -wal file away to begin with an empty queue");
}

void Service::run() {
  wait_for_signal();
  say_where();
  asio::co_spawn(io_, webhooks_.start(), [this](std::exception_ptr error) {
    if (error) options_.report("[webhook] those of an earlier process are not sent: the store refuses");
  });
  retention_.start();
  dispatcher_.start();
  integrity_.emplace(
      io_, settings_.data / kDatabase, [this](const std::string& why) { take_damage(why); }, options_.report);
  io_.run();
}

void Service::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    on_signal(number);
    wait_for_signal();
  });
}

void Service::on_signal(int number) {
  if (number == SIGHUP) return read_keys_again();
  if (stopping_) {  // the second one
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  stopping_ = true;
  asio::co_spawn(io_, stop(number), asio::detached);
}

void Service::read_keys_again() {
  if (settings_.keys.empty()) return options_.report("[keys] SIGHUP: the server was started without --keys");
  try {
    std::vector<Key> keys = read_keys(settings_.keys);
    options_.report("[keys] read again: " + std::to_string(keys.size()) + (keys.size() == 1 ? " key" : " keys"));
    access_.replace_keys(std::move(keys));
  } catch (const std::exception& error) {
    options_.report(std::string(error.what()) + "; the keys stay as they were");
  }
}

Awaitable<void> Service::stop(int number) {
  options_.report(std::string("[stop] ") + name_of(number) + ": no more requests; workers save their state");
  server_->stop();
  api_.ends = true;
  webhooks_.stop();
  retention_.stop();
  integrity_.reset();
  co_await dispatcher_.stop(kForWorkers);
  asio::steady_timer timer(io_);
  const auto end = std::chrono::steady_clock::now() + kForAnswers;
  while (server_->connections() > 0 && std::chrono::steady_clock::now() < end) {
    timer.expires_after(std::chrono::milliseconds(50));
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  options_.report("[stop] ended; queued jobs wait for the next start");
  io_.stop();
}

int run(const Settings& settings, const RunOptions& options) {
  asio::io_context io(1);
  Service(io, settings, options).run();
  return 0;
}

}  // namespace wan::serve
