-- Remove a channel from a group and tell its process.
--
-- KEYS[1]   zset    readers of the group on this server
-- KEYS[2]   zset    members of the group in this process
-- KEYS[3]   list    queue of the reader
-- KEYS[4]   string  ticket of an ordinary channel, with encryption only
-- ARGV[1]   the reader
-- ARGV[2]   local part, empty for an ordinary channel
-- ARGV[3]   milliseconds the frame lives
-- ARGV[4]   frame that tells the process, or empty

if ARGV[2] ~= '' then
    redis.call('ZREM', KEYS[2], ARGV[2])
end
if redis.call('ZCARD', KEYS[2]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
end
if ARGV[4] ~= '' then
    local now = redis.call('TIME')
    local stamp = struct.pack('>d', now[1] * 1000 + now[2] / 1000 + ARGV[3])
    keep(KEYS[3], redis.call('RPUSH', KEYS[3], stamp .. ARGV[4]) == 1, ARGV[3] + 10000)
end
if KEYS[4] then
    redis.call('DEL', KEYS[4])
end
