// One whole login with a library that trusts nothing: discovery, registration, PKCE, code, tool call, refresh.
// Arguments: library, folder of its package, URL of the MCP server, tool, extra headers as JSON.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [name, folder, url, tool, headers] = process.argv.slice(2)
const found = createRequire(pathToFileURL(`${folder}/`)).resolve(name)
const library = await import(pathToFileURL(found))
const client = {
  client_name: name,
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
}

// What the resource names, and what makes a refresh token possible where the server has it.
function scopeOf(resource, server) {
  const offline = server.scopes_supported?.includes('offline_access') ? ['offline_access'] : []
  return [...new Set([...(resource.scopes_supported ?? []), ...offline])].join(' ')
}

// The loopback end of the redirect; a browser is started for the authorization request.
async function throughBrowser(authorize) {
  const listener = createServer()
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const redirectUri = `http://127.0.0.1:${listener.address().port}/callback`
  const browser = spawn(process.env.BROWSER, [String(await authorize(redirectUri))], { stdio: 'inherit' })
  const [request, response] = await once(listener, 'request')
  response.end('Done')
  await once(browser, 'exit')
  listener.close()
  listener.closeAllConnections()
  return new URL(request.url, redirectUri)
}

async function withOauth4webapi(oauth) {
  const loopback = { [oauth.allowInsecureRequests]: true }
  const resource = await oauth.processResourceDiscoveryResponse(
    new URL(url), await oauth.resourceDiscoveryRequest(new URL(url), loopback))
  const issuer = new URL(resource.authorization_servers[0])
  const server = await oauth.processDiscoveryResponse(
    issuer, await oauth.discoveryRequest(issuer, { ...loopback, algorithm: 'oauth2' }))
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  let registered, redirectUri
  const callback = await throughBrowser(async (uri) => {
    redirectUri = uri
    registered = await oauth.processDynamicClientRegistrationResponse(
      await oauth.dynamicClientRegistrationRequest(server, { ...client, redirect_uris: [uri] }, loopback))
    const authorization = new URL(server.authorization_endpoint)
    authorization.search = new URLSearchParams({
      client_id: registered.client_id, redirect_uri: uri, response_type: 'code', state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
      scope: scopeOf(resource, server), resource: resource.resource,
    })
    return authorization
  })
  const parameters = oauth.validateAuthResponse(server, registered, callback, state)
  const more = { ...loopback, additionalParameters: { resource: resource.resource } }
  const first = await oauth.processAuthorizationCodeResponse(server, registered,
    await oauth.authorizationCodeGrantRequest(
      server, registered, oauth.None(), parameters, redirectUri, verifier, more))
  const answer = await call(first.access_token)
  const second = await oauth.processRefreshTokenResponse(server, registered,
    await oauth.refreshTokenGrantRequest(server, registered, oauth.None(), first.refresh_token, more))
  return [answer, second.access_token !== first.access_token && await call(second.access_token)]
}

async function withOpenidClient(oidc) {
  // It knows no protected-resource metadata (RFC 9728): its user has read them.
  const metadata = await (await fetch(new URL('/.well-known/oauth-protected-resource/mcp', url))).json()
  const { resource, authorization_servers: [issuer] } = metadata
  const verifier = oidc.randomPKCECodeVerifier()
  const state = oidc.randomState()
  let config
  const callback = await throughBrowser(async (uri) => {
    config = await oidc.dynamicClientRegistration(
      new URL(issuer), { ...client, redirect_uris: [uri] }, oidc.None(),
      { execute: [oidc.allowInsecureRequests], algorithm: 'oauth2' })
    return oidc.buildAuthorizationUrl(config, {
      redirect_uri: uri, state, resource, scope: scopeOf(metadata, config.serverMetadata()),
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    })
  })
  const first = await oidc.authorizationCodeGrant(
    config, callback, { pkceCodeVerifier: verifier, expectedState: state }, { resource })
  const answer = await call(first.access_token)
  const second = await oidc.refreshTokenGrant(config, first.refresh_token, { resource })
  return [answer, second.access_token !== first.access_token && await call(second.access_token)]
}

async function ask(token, session, method, params, id) {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      ...JSON.parse(headers), authorization: `Bearer ${token}`, 'content-type': 'application/json',
      accept: 'application/json, text/event-stream', ...session,
    },
    body: JSON.stringify({ jsonrpc: '2.0', method, params, id }),
  })
  return [await response.text(), response.headers.get('mcp-session-id')]
}

async function call(token) {
  const version = '2025-11-25'
  const begin = { protocolVersion: version, capabilities: {}, clientInfo: { name, version: '1' } }
  const [, id] = await ask(token, {}, 'initialize', begin, 1)
  const session = { 'mcp-protocol-version': version, ...(id && { 'mcp-session-id': id }) }
  await ask(token, session, 'notifications/initialized')
  const [listed] = await ask(token, session, 'tools/list', {}, 2)
  const [called] = await ask(token, session, 'tools/call', { name: tool, arguments: {} }, 3)
  return { listed: listed.includes(`"${tool}"`), called }
}

const answers = await (name === 'oauth4webapi' ? withOauth4webapi : withOpenidClient)(library)
console.log(JSON.stringify(answers))
