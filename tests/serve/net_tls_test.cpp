// TLS, and the certificate that a server makes for itself.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "engine/base/error.h"
#include "tests/serve/net_support.h"

namespace wan::serve::testing {
namespace {

/// Speaks TLS over a Client's socket and verifies as browsers do.
class TlsClient {
 public:
  TlsClient(Client& client, const std::filesystem::path& trusted, const std::string& name, int newest = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_load_verify_locations(context_, trusted.c_str(), nullptr);
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_max_proto_version(context_, newest);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context_), X509_V_FLAG_X509_STRICT);
    ssl_ = SSL_new(context_);
    SSL_set_security_level(ssl_, 0);
    SSL_set_fd(ssl_, client.descriptor());
    X509_VERIFY_PARAM* const verify = SSL_get0_param(ssl_);
    if (X509_VERIFY_PARAM_set1_ip_asc(verify, name.c_str()) != 1) SSL_set1_host(ssl_, name.c_str());
    const unsigned char protocols[] = "\x02h2\x08http/1.1";
    SSL_set_alpn_protos(ssl_, protocols, sizeof protocols - 1);
    connected = SSL_connect(ssl_) == 1;
    ERR_clear_error();
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  void send(std::string_view text) {
    while (!text.empty()) {
      const int size = SSL_write(ssl_, text.data(), static_cast<int>(std::min<size_t>(text.size(), 1 << 20)));
      if (size <= 0) return;
      text.remove_prefix(static_cast<size_t>(size));
    }
  }
  /// Until the server's end; `said_so`: by TLS's own word, which an attacker cannot forge.
  std::string all() {
    std::string text;
    char block[65536];
    int size = 0;
    while ((size = SSL_read(ssl_, block, sizeof block)) > 0) text.append(block, static_cast<size_t>(size));
    said_so = SSL_get_error(ssl_, size) == SSL_ERROR_ZERO_RETURN;
    return text;
  }
  std::string version() const { return SSL_get_version(ssl_); }
  std::string protocol() const {
    const unsigned char* name = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }
  bool connected = false, said_so = false;

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
};

class NetTls : public ::testing::Test {
 protected:
  void SetUp() override { make_certificate(pem_, "my.host"); }
  NetOptions options() const { return {.certificate = pem_, .key = pem_}; }

  TestFolder folder_;
  std::filesystem::path pem_ = folder_.path / "tls.pem";
};

Awaitable<Answer> echo(Exchange& exchange) {
  std::string body = co_await exchange.read_body(64 << 20);
  co_return text_answer(exchange.base_url() + exchange.path() + (exchange.is_tls() ? " tls " : " plain ") + body);
}

TEST_F(NetTls, AnswersAsWithoutIt) {
  TestServer server(echo, options());
  for (const auto& [newest, version] : {std::pair(TLS1_3_VERSION, "TLSv1.3"), std::pair(TLS1_2_VERSION, "TLSv1.2")}) {
    Client client(server.port);
    TlsClient tls(client, pem_, "127.0.0.1", newest);
    ASSERT_TRUE(tls.connected);
    EXPECT_EQ(tls.version(), version);
    EXPECT_EQ(tls.protocol(), "http/1.1");
    const std::string body = pattern(1 << 20);
    tls.send(post("/a", body) + get("/b", "Connection: close\r\n"));
    const std::string got = tls.all();
    EXPECT_NE(got.find("https://localhost/a tls " + body), std::string::npos);
    EXPECT_TRUE(got.ends_with("https://localhost/b tls "));
    EXPECT_TRUE(tls.said_so);
  }
}

TEST_F(NetTls, RefusesOldVersionsAndPlainHttp) {
  TestServer server(echo, options());
  Client old(server.port);
  EXPECT_FALSE(TlsClient(old, pem_, "localhost", TLS1_1_VERSION).connected);
  Client plain(server.port);
  EXPECT_EQ(plain.ask(get("/")).status, 0);
  server.wait_for_connections(0);
}

TEST_F(NetTls, GivesAHandshakeItsTime) {
  NetOptions limits = options();
  limits.header_time = std::chrono::seconds(1);
  TestServer server(echo, limits);
  Client silent(server.port), half(server.port);
  half.send(std::string("\x16\x03\x01\x02\x00\x01", 6));
  EXPECT_TRUE(silent.ends());
  EXPECT_TRUE(half.ends());
  server.wait_for_connections(0);
}

TEST_F(NetTls, AnswersSlowHeadsAndBodiesAndLargeOnes) {
  NetOptions limits = options();
  limits.header_time = limits.body_time = std::chrono::seconds(1);
  TestServer server(echo, limits);
  for (const auto& [request, status] :
       {std::pair("GET / HT", "408"), std::pair("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "408"),
        std::pair("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n", "413"),
        std::pair("nonsense\r\n\r\n", "400")}) {
    Client client(server.port);
    TlsClient tls(client, pem_, "localhost");
    tls.send(request);
    const std::string got = tls.all();
    EXPECT_EQ(got.substr(9, 3), status) << request;
    EXPECT_TRUE(got.ends_with("}")) << got;
    EXPECT_TRUE(tls.said_so) << request;
  }
}

TEST_F(NetTls, SendsFilesAndEvents) {
  const std::string text = pattern(3 << 20);
  std::ofstream(folder_.path / "file", std::ios::binary) << text;
  TestServer server(
      [&](Exchange& exchange) -> Awaitable<Answer> {
        if (exchange.path() == "/file") co_return Answer{.file = FileBody{folder_.path / "file", 0, text.size()}};
        co_return Answer{.type = "text/event-stream", .events = [&](EventStream& stream) -> Awaitable<void> {
                           co_await stream.send("one");
                           co_await exchange.gone();
                           co_await stream.send("two");
                         }};
      },
      options());
  Client client(server.port);
  TlsClient tls(client, pem_, "localhost");
  tls.send(get("/file", "Connection: close\r\n"));
  EXPECT_TRUE(tls.all().ends_with(text));
  Client watches(server.port);
  {
    TlsClient events(watches, pem_, "localhost");
    events.send(get("/events"));
    server.wait_for_connections(1);
  }
  watches.close();
  server.wait_for_connections(0);
  EXPECT_TRUE(server.reports().empty());
}

TEST_F(NetTls, HasACertificateForItsNames) {
  TestServer server(echo, options());
  for (const auto& [name, good] :
       {std::pair("localhost", true), std::pair("127.0.0.1", true), std::pair("::1", true), std::pair("my.host", true),
        std::pair("other.host", false), std::pair("127.0.0.2", false)}) {
    Client client(server.port);
    EXPECT_EQ(TlsClient(client, pem_, name).connected, good) << name;
  }
}

TEST_F(NetTls, MakesACertificateOnceForItsUserAlone) {
  struct stat info {};
  ASSERT_EQ(stat(pem_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const std::string first = file_text(pem_);
  make_certificate(pem_, "other.host");
  EXPECT_EQ(file_text(pem_), first);
  const auto files = std::filesystem::directory_iterator(folder_.path);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1) << "no part is left";

  BIO* const memory = BIO_new_mem_buf(first.data(), static_cast<int>(first.size()));
  X509* const certificate = PEM_read_bio_X509(memory, nullptr, nullptr, nullptr);
  ASSERT_NE(certificate, nullptr);
  int days = 0, seconds = 0;
  ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(certificate), X509_get0_notAfter(certificate));
  EXPECT_NEAR(days, 3653, 2);
  EXPECT_EQ(EVP_PKEY_get_bits(X509_get0_pubkey(certificate)), 256);
  EXPECT_EQ(EVP_PKEY_get_id(X509_get0_pubkey(certificate)), EVP_PKEY_EC);
  X509_free(certificate);
  BIO_free(memory);
}

TEST_F(NetTls, MakesNoCertificateForWhatIsNoHost) {
  EXPECT_THROW(make_certificate(folder_.path / "a", "a,DNS:b"), std::runtime_error);
  EXPECT_THROW(make_certificate(folder_.path / "absent" / "a", "b"), std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(folder_.path / "a"));
  for (const char* host : {"", "localhost", "10.0.0.1", "fe80::1"}) {
    const std::filesystem::path file = folder_.path / ("for" + std::string(host));
    make_certificate(file, host);
    EXPECT_TRUE(std::filesystem::exists(file)) << host;
  }
}

std::string refusal(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  boost::asio::io_context io;
  try {
    Server server(io, {.port = 0, .certificate = certificate, .key = key}, echo, [](const std::string&) {});
  } catch (const InvalidRequest& error) {
    return error.errors.at(0).line();
  }
  return {};
}

TEST_F(NetTls, NamesTheFileThatIsWrong) {
  const std::filesystem::path other = folder_.path / "other.pem", text = folder_.path / "text";
  make_certificate(other, "");
  std::ofstream(text) << "no certificate";
  EXPECT_EQ(refusal(pem_, pem_), "");
  EXPECT_EQ(refusal(folder_.path / "absent", pem_).rfind("[tls_cert] must be", 0), 0u);
  EXPECT_EQ(refusal(text, pem_).rfind("[tls_cert] must be", 0), 0u);
  EXPECT_EQ(refusal(pem_, folder_.path / "absent").rfind("[tls_key] must be", 0), 0u);
  EXPECT_EQ(refusal(pem_, text).rfind("[tls_key] must be", 0), 0u);
  EXPECT_EQ(refusal(pem_, other).rfind("[tls_key] must be", 0), 0u) << "another certificate's key";
  EXPECT_EQ(refusal(pem_, "").rfind("[tls_key] must be given", 0), 0u);
  EXPECT_EQ(refusal("", pem_).rfind("[tls_cert] must be given", 0), 0u);
}

}  // namespace
}  // namespace wan::serve::testing
