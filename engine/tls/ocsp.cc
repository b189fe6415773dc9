#include "engine/tls/ocsp.h"

#include <netdb.h>

#include <algorithm>
#include <cerrno>

#include "confparse/address.h"
#include "confparse/value.h"
#include "confparse/worlds.h"
#include "engine/log/error_log.h"
#include "engine/net/connector.h"
#include "engine/tls/error.h"

namespace weir::tls {
namespace {

using Response = std::unique_ptr<OCSP_RESPONSE, Freer<OCSP_RESPONSE_free>>;
using Basic = std::unique_ptr<OCSP_BASICRESP, Freer<OCSP_BASICRESP_free>>;
using CertificateId = std::unique_ptr<OCSP_CERTID, Freer<OCSP_CERTID_free>>;

constexpr long kClockSkew = 300;

time_t time_of(const ASN1_GENERALIZEDTIME* time) {
  std::tm broken{};
  if (!time || ASN1_TIME_to_tm(time, &broken) == 0) return 0;
  return timegm(&broken);
}

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '+') {
      out += "%2B";
    } else if (c == '/') {
      out += "%2F";
    } else if (c == '=') {
      out += "%3D";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

const char* status_text(OcspAnswer::Status status) {
  switch (status) {
    case OcspAnswer::Status::good:
      return "good";
    case OcspAnswer::Status::revoked:
      return "revoked";
    case OcspAnswer::Status::unknown:
      return "unknown";
    case OcspAnswer::Status::failed:
      break;
  }
  return "certificate status request failed";
}

bool parse_responder(conf::World* world, std::string_view url, Responder& out,
                     std::string& problem) {
  constexpr std::string_view kScheme = "http://";
  if (url.size() <= kScheme.size() ||
      !conf::equal_without_case(url.substr(0, kScheme.size()), kScheme)) {
    problem = "invalid URL prefix";
    return false;
  }
  conf::UrlRules rules;
  rules.default_port = 80;
  rules.uri_part = true;
  rules.no_resolve = world == nullptr;
  static thread_local conf::VirtualWorld nowhere;
  const conf::Url read =
      conf::parse_url(world ? *world : nowhere, url.substr(kScheme.size()), rules);
  if (!read.ok()) {
    problem = read.problem;
    return false;
  }
  out.name = read.host;
  out.port = read.port;
  out.host =
      read.no_port || read.port == 80 ? read.host : read.host + ":" + std::to_string(read.port);
  out.uri = read.uri.empty() ? "/" : read.uri;
  for (const conf::SocketAddress& address : read.addresses) {
    out.addresses.push_back(net::Address::from_bytes(address.bytes));
  }
  return true;
}

std::string responder_in(X509* certificate) {
  STACK_OF(OPENSSL_STRING)* urls = X509_get1_ocsp(certificate);
  if (!urls) return {};
  const char* first = sk_OPENSSL_STRING_value(urls, 0);
  std::string url = first ? first : "";
  X509_email_free(urls);
  return url;
}

OcspAnswer read_ocsp_response(std::string_view der, X509* certificate, X509* issuer,
                              const OcspTrust& trust) {
  ERR_clear_error();
  OcspAnswer answer;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const Response response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(der.size())));
  if (!response) {
    answer.problem = "d2i_OCSP_RESPONSE() failed" + take_errors();
    return answer;
  }
  const int status = OCSP_response_status(response.get());
  if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    answer.problem = "OCSP response not successful (" + std::to_string(status) + ": " +
                     OCSP_response_status_str(status) + ")";
    return answer;
  }
  const Basic basic(OCSP_response_get1_basic(response.get()));
  if (!basic) {
    answer.problem = "OCSP_response_get1_basic() failed" + take_errors();
    return answer;
  }
  const unsigned long flags = trust.verify ? OCSP_TRUSTOTHER : OCSP_NOVERIFY;
  if (OCSP_basic_verify(basic.get(), trust.chain, trust.store, flags) != 1) {
    answer.problem = "OCSP_basic_verify() failed" + take_errors();
    return answer;
  }
  const CertificateId id(OCSP_cert_to_id(nullptr, certificate, issuer));
  int found = 0;
  ASN1_GENERALIZEDTIME* from = nullptr;
  ASN1_GENERALIZEDTIME* until = nullptr;
  if (!id ||
      OCSP_resp_find_status(basic.get(), id.get(), &found, nullptr, nullptr, &from, &until) != 1) {
    answer.problem = "certificate status not found in the OCSP response" + take_errors();
    return answer;
  }
  if (OCSP_check_validity(from, until, kClockSkew, -1) != 1) {
    answer.problem = "OCSP_check_validity() failed" + take_errors();
    return answer;
  }
  answer.valid_until = until ? time_of(until) : 0;
  answer.response = der;
  answer.status = found == V_OCSP_CERTSTATUS_GOOD      ? OcspAnswer::Status::good
                  : found == V_OCSP_CERTSTATUS_REVOKED ? OcspAnswer::Status::revoked
                                                       : OcspAnswer::Status::unknown;
  return answer;
}

// Answers of a look-up outlive the query that asked.
struct OcspQuery::Lookup {
  OcspQuery* query;
  std::vector<net::Address> addresses;
};

OcspQuery::OcspQuery(Loop& loop, Responder responder, X509* certificate, X509* issuer,
                     OcspTrust trust, Done done, void* owner)
    : loop_(loop),
      responder_(std::move(responder)),
      trust_(trust),
      done_(done),
      owner_(owner),
      timer_(&OcspQuery::timed_out, this) {
  X509_up_ref(certificate);
  certificate_.reset(certificate);
  X509_up_ref(issuer);
  issuer_.reset(issuer);
}

OcspQuery::~OcspQuery() {
  if (lookup_) lookup_->query = nullptr;
}

void OcspQuery::start() {
  timer_.arm(loop_, kTimeout);
  if (!make_request()) {
    fail("OCSP request failed" + take_errors());
  } else if (responder_.addresses.empty()) {
    look_up();
  } else {
    connect();
  }
}

bool OcspQuery::make_request() {
  const CertificateId id(OCSP_cert_to_id(nullptr, certificate_.get(), issuer_.get()));
  const std::unique_ptr<OCSP_REQUEST, Freer<OCSP_REQUEST_free>> request(OCSP_REQUEST_new());
  if (!id || !request) return false;
  OCSP_CERTID* copy = OCSP_CERTID_dup(id.get());
  if (!copy || !OCSP_request_add0_id(request.get(), copy)) return false;
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_REQUEST(request.get(), &der);
  if (size <= 0) return false;
  const std::string encoded =
      escaped(base64({reinterpret_cast<char*>(der), static_cast<size_t>(size)}));
  OPENSSL_free(der);
  request_ = "GET " + responder_.uri + (responder_.uri.ends_with('/') ? "" : "/") + encoded +
             " HTTP/1.0\r\nHost: " + responder_.host + "\r\n\r\n";
  return true;
}

void OcspQuery::look_up() {
  lookup_ = std::make_shared<Lookup>(Lookup{this, {}});
  auto shared = lookup_;
  const std::string name = responder_.name;
  const uint16_t port = responder_.port;
  loop_.work(
      [shared, name, port] {
        conf::RealWorld world;
        const auto answer = world.resolve(name, port);
        for (const auto& each : answer.value) {
          shared->addresses.push_back(net::Address::from_bytes(each.bytes));
        }
      },
      [shared] {
        OcspQuery* query = shared->query;
        if (!query) return;
        query->lookup_.reset();
        query->responder_.addresses = std::move(shared->addresses);
        if (query->responder_.addresses.empty()) {
          query->fail(query->responder_.name + " could not be resolved");
        } else {
          query->connect();
        }
      });
}

void OcspQuery::connect() {
  sent_ = 0;
  answer_.clear();
  const net::Address& to = responder_.addresses[address_];
  const net::ConnectResult result = net::start_connect(loop_, stream_.socket(), this, to, {});
  switch (result.state) {
    case net::ConnectResult::State::connected:
      send();
      return;
    case net::ConnectResult::State::pending:
      connecting_ = true;
      return;
    default:
      next_address(net::failure_text(result, to, {}) + error_number_text(result.error));
  }
}

void OcspQuery::next_address(std::string problem) {
  stream_.close();
  connecting_ = false;
  if (++address_ < responder_.addresses.size()) {
    connect();
    return;
  }
  fail(std::move(problem));
}

void OcspQuery::send() {
  while (sent_ < request_.size()) {
    iovec vector{request_.data() + sent_, request_.size() - sent_};
    const Transfer moved = stream_.socket().write(&vector, 1, false);
    if (moved.state == Transfer::State::would_block) return;
    if (moved.state != Transfer::State::done) {
      next_address("send() failed" + error_number_text(moved.error));
      return;
    }
    sent_ += moved.bytes;
  }
}

void OcspQuery::on_writable() {
  if (connecting_) {
    connecting_ = false;
    if (const int error = stream_.socket().connect_error()) {
      next_address("connect() failed" + error_number_text(error));
      return;
    }
  }
  send();
}

void OcspQuery::on_readable() {
  char buffer[4096];
  for (;;) {
    const Transfer moved = stream_.read(buffer, sizeof buffer);
    switch (moved.state) {
      case Transfer::State::done:
        answer_.append(buffer, moved.bytes);
        if (answer_.size() > kLargestAnswer) {
          fail("OCSP responder sent too much");
          return;
        }
        continue;
      case Transfer::State::would_block:
        return;
      case Transfer::State::end:
        read_answer();
        return;
      case Transfer::State::failed:
        next_address("recv() failed" + error_number_text(moved.error));
        return;
    }
  }
}

void OcspQuery::read_answer() {
  const size_t end = answer_.find("\r\n\r\n");
  if (end == std::string::npos || !answer_.starts_with("HTTP/1.")) {
    next_address("OCSP responder prematurely closed connection");
    return;
  }
  std::string_view head = std::string_view(answer_).substr(0, end);
  if (head.size() < 12 || head.substr(9, 3) != "200") {
    fail("OCSP responder sent invalid response: \"" + std::string(head.substr(0, head.find('\r'))) +
         "\"");
    return;
  }
  std::string_view body = std::string_view(answer_).substr(end + 4);
  while (!head.empty()) {
    const size_t line_end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, line_end);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      std::string_view value = line.substr(colon + 1);
      while (value.starts_with(' ')) value.remove_prefix(1);
      const std::string_view name = line.substr(0, colon);
      if (conf::equal_without_case(name, "content-type") &&
          !conf::equal_without_case(value, "application/ocsp-response")) {
        fail("OCSP responder sent invalid \"Content-Type\" header: \"" + std::string(value) + "\"");
        return;
      }
    }
    head.remove_prefix(std::min(line_end + 2, head.size()));
  }
  finish(read_ocsp_response(body, certificate_.get(), issuer_.get(), trust_));
}

void OcspQuery::timed_out(void* self) {
  static_cast<OcspQuery*>(self)->fail("OCSP responder timed out");
}

void OcspQuery::fail(std::string problem) {
  OcspAnswer answer;
  answer.problem = std::move(problem);
  finish(std::move(answer));
}

void OcspQuery::finish(OcspAnswer answer) {
  timer_.cancel();
  stream_.close();
  if (!answer.problem.empty()) {
    answer.problem += " while requesting certificate status, responder: " + responder_.host;
  }
  done_(owner_, answer);  // may destroy this
}

}  // namespace weir::tls
