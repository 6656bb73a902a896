-- Add a channel to a group and tell its process.
--
-- KEYS[1]   zset    readers of the group on this server
-- KEYS[2]   zset    members of the group in this process: local part → when it expires
-- KEYS[3]   string  presence of the reader: its capacity
-- KEYS[4]   list    queue of the reader
-- KEYS[5]   string  ticket of an ordinary channel, with encryption only
-- ARGV[1]   the reader
-- ARGV[2]   local part, empty for an ordinary channel
-- ARGV[3]   milliseconds the membership lasts
-- ARGV[4]   capacity of the reader
-- ARGV[5]   milliseconds presence lasts without renewal
-- ARGV[6]   milliseconds a message lives
-- ARGV[7]   frame that tells the process, or empty
-- ARGV[8]   the ticket, if there is KEYS[5]

-- Members of one group end at different times, so whoever joins prolongs what is there and shortens nothing.

local function lives_shorter(key, ms)
    return redis.call('PTTL', key) < tonumber(ms)
end

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local expires = ms + ARGV[3]
redis.call('ZADD', KEYS[1], 'GT', expires, ARGV[1])
if lives_shorter(KEYS[1], ARGV[3]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
if ARGV[2] ~= '' then
    redis.call('SET', KEYS[3], ARGV[4], 'NX', 'PX', ARGV[5])
    redis.call('ZADD', KEYS[2], 'GT', expires, ARGV[2])
    if lives_shorter(KEYS[2], ARGV[3]) then
        redis.call('PEXPIRE', KEYS[2], ARGV[3])
    end
elseif lives_shorter(KEYS[3], ARGV[5]) then
    redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
end
if ARGV[7] ~= '' then
    local is_new = redis.call('RPUSH', KEYS[4], struct.pack('>d', expires) .. ARGV[7]) == 1
    keep(KEYS[4], is_new, math.max(ARGV[5], ARGV[6]) + 10000)
end
if KEYS[5] and lives_shorter(KEYS[5], ARGV[3]) then
    redis.call('SET', KEYS[5], ARGV[8], 'PX', ARGV[3])
end
