-- Add a channel to a group and tell its process.
--
-- Members of one group end at different times, so whoever joins prolongs what is there and shortens nothing.

local readers = KEYS[1]      -- zset, of the group on this server
local members = KEYS[2]      -- zset, of the group in this process: local part → when it expires
local presence = KEYS[3]     -- string, of the reader: its capacity
local queue = KEYS[4]        -- list, of the reader
local ticket = KEYS[5]       -- string, of an ordinary channel, with encryption only
local reader = ARGV[1]
local member = ARGV[2]       -- local part, empty for an ordinary channel
local member_ms = ARGV[3]    -- for so long the membership lasts
local capacity = ARGV[4]     -- of the reader
local presence_ms = ARGV[5]  -- for so long presence lasts without renewal
local lifetime = ARGV[6]     -- milliseconds a message lives
local frame = ARGV[7]        -- tells the process; may be empty
local sealed = ARGV[8]       -- what the ticket says

local function lives_shorter(key, lasting)
    return redis.call('PTTL', key) < tonumber(lasting)
end

local expires = ms + member_ms
redis.call('ZADD', readers, 'GT', expires, reader)
if lives_shorter(readers, member_ms) then
    redis.call('PEXPIRE', readers, member_ms)
end
if member ~= '' then
    redis.call('SET', presence, capacity, 'NX', 'PX', presence_ms)
    redis.call('ZADD', members, 'GT', expires, member)
    if lives_shorter(members, member_ms) then
        redis.call('PEXPIRE', members, member_ms)
    end
elseif lives_shorter(presence, presence_ms) then
    redis.call('SET', presence, capacity, 'PX', presence_ms)
end
if frame ~= '' then
    local is_new = redis.call('RPUSH', queue, stamp_of(member_ms) .. frame) == 1
    keep(queue, is_new, math.max(presence_ms, lifetime))
end
if ticket and lives_shorter(ticket, member_ms) then
    redis.call('SET', ticket, sealed, 'PX', member_ms)
end
